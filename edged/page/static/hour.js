// The last hour, drawn by the server every ten seconds while it is looked at; and thresholds that are tried on it.
import { ask, byId, draw, make, say, seen } from "/page.js";

const EVERY_MS = 10000;
const TYPING_MS = 300;
const KEYS = ["enter", "leave", "margin", "k", "n", "hold_s"];

export function startHour() {
  const form = byId("thresholds");
  let timer = 0, typing = 0, rules = null, tried = {}, asked = 0;

  async function load() {
    clearTimeout(timer);
    const mine = ++asked;
    try {
      const told = await ask(`/hour?${new URLSearchParams(tried)}`);
      if (mine !== asked) return;
      rules = told.rules;
      if (seen.showTuned) seen.showTuned(); // another tab, an edit of the file or `edged use --clear` may have changed it
      const where = byId("hour"), isFirst = !where.firstChild;
      draw(where, told.svg);
      if (isFirst) where.scrollLeft = where.scrollWidth; // on a phone: now, and not an hour ago
      byId("legend").replaceChildren(...told.labels.map(([name, colour]) => {
        const item = make("li", name), spot = document.createElement("span");
        draw(spot, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" class="${colour}"/></svg>`);
        item.prepend(spot);
        return item;
      }));
      if (!Object.keys(tried).length) fill();
      else would(told);
      if (!told.kept) effect("The hour is kept only while page.enabled is true.", "bad");
    } catch (error) {
      if (mine === asked && Object.keys(tried).length) effect(error.message, "bad");
    }
    timer = setTimeout(load, EVERY_MS);
  }

  const fill = () => KEYS.forEach((key) => { if (document.activeElement !== form[key]) form[key].value = +(+rules[key]).toFixed(3); });

  function effect(text, kind = "") {
    const where = byId("would");
    if (where.textContent !== text) where.textContent = text;
    where.className = `effect ${kind}`;
  }

  function would(told) {
    const count = (entered) => Object.values(entered).reduce((sum, one) => sum + one, 0);
    const list = (entered) => Object.entries(entered).map(([label, times]) => `${label} ${times}×`).join(", ") || "nothing";
    effect(
      `With these: ${count(told.would)} entered (${list(told.would)}). As it is: ${count(told.now)} (${list(told.now)}). ` +
        `The same label in ${(told.same * 100).toFixed(0)} % of the time.`,
      "good",
    );
  }

  form.addEventListener("input", () => {
    if (!rules) return;
    tried = {};
    for (const key of KEYS) {
      if (form[key].value !== "" && Math.abs(Number(form[key].value) - rules[key]) > 1e-4) tried[key] = form[key].value;
    }
    byId("thresholds-save").disabled = byId("thresholds-back").disabled = !Object.keys(tried).length;
    if (!Object.keys(tried).length) effect("");
    clearTimeout(typing);
    typing = setTimeout(load, TYPING_MS);
  });

  function forget() {
    tried = {};
    effect("");
    byId("thresholds-save").disabled = byId("thresholds-back").disabled = true;
    load();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(Object.entries(tried).map(([key, value]) => [`decision.${key}`, Number(value)]));
    try {
      const told = await ask("/tune", { values });
      seen.showTuned(told);
      forget();
      effect("Saved: they hold from the next look on.", "good");
    } catch (error) { effect(error.message, "bad"); }
  });
  byId("thresholds-back").addEventListener("click", () => { if (rules) { document.activeElement.blur(); forget(); } });

  return { start: load, stop: () => { clearTimeout(timer); asked += 1; }, again: () => { say(""); load(); } };
}
