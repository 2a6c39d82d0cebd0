// What runs and why, what else there is, and a switch that says how it went.
import { ask, byId, draw, make } from "/page.js";

export function startModels() {
  let running = "", wish = "", switching = false;

  function said(text, kind = "") {
    byId("switched").textContent = text;
    byId("switched").className = `effect ${kind}`;
  }

  async function load() {
    try {
      const told = await ask("/models");
      byId("models").tBodies[0].replaceChildren(...told.rows.map(row));
      byId("frontier").replaceChildren();
      if (told.frontier) draw(byId("frontier"), told.frontier);
      byId("models-note").textContent = told.note;
      mark();
    } catch (error) { byId("models-note").textContent = error.message; }
  }

  function row(model) {
    const cells = make("tr");
    cells.dataset.name = model.name;
    const figure = (value, unit) => (value === null || value === undefined ? "–" : `${value.toFixed(1)} ${unit}`);
    const fits = model.fits ? "yes" : model.why_not || (model.p95_ms ? "no" : "not measured");
    cells.append(
      make("td", model.name),
      make("td", model.top1 === null ? "unknown" : model.top1.toFixed(2), "figure"),
      make("td", figure(model.p95_ms, "ms"), "figure"),
      make("td", figure(model.memory_mb, "MB"), "figure"),
      make("td", fits),
    );
    return cells;
  }

  function mark() {
    for (const line of byId("models").tBodies[0].rows) {
      const is = line.dataset.name === running;
      line.classList.toggle("runs", is);
      if (is) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
    byId("wish").value = wish;
  }

  byId("switch").addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = byId("wish").value;
    switching = true;
    said(`${asked} is tried…`);
    try {
      const done = await ask("/use", { wish: asked });
      if (done.trial) said(`${done.trial} is chosen; ${done.note}.`);
      else said(`${done.model} is in use${done.note ? `; ${done.note}` : ", and has proven itself on the camera's frames"}.`, "good");
      load();
    } catch (error) { said(error.message, "bad"); }
    switching = false;
    mark();
  });

  return {
    load,
    doing: (text) => { if (switching && text) said(text); },
    refused: (told) => { if (!switching) said(`${told.asked} is not used: ${told.reason}`, "bad"); },
    wishes(names) {
      const options = names.map((name) => {
        const option = make("option", name === "@file" ? "what the config file says" : name);
        option.value = name;
        return option;
      });
      byId("wish").replaceChildren(...options);
      document.querySelector("#switch button").disabled = !names.length;
      byId("wish").value = wish;
    },
    runs(model) {
      running = model.card;
      if (!switching) wish = model.wish;
      byId("runs").textContent = model.card;
      byId("chosen").textContent = [`${model.width} × ${model.height} px, ${model.threads} threads`, model.chosen, model.governor].filter(Boolean).join("; ");
      mark();
    },
  };
}
