// The picture, at most five times a second and only while it is looked at; and the region, dragged, tried, saved, undone.
import { ask, byId, make, say, seen } from "/page.js";

const EVERY_MS = 200;
const AGAIN_MS = 1500; // after one that failed
const LEAST = 0.02; // of the picture's side: less is a slip of the finger
const KEYS = ["x", "y", "w", "h"];

export function startPicture() {
  const image = byId("picture"), overlay = byId("overlay"), stage = byId("stage"), form = byId("region");
  let running = 0, timer = 0, address = "", shows = [0, 0, 1, 1], holds = [0, 0, 1, 1], wanted = null, from = null, tries = 0, allowed = false;

  const view = () => document.querySelector("input[name=view]:checked").value;

  async function next(mine) {
    const began = performance.now();
    let pause = AGAIN_MS;
    try {
      const answer = await fetch(`/picture?view=${view()}`);
      if (mine !== running) return;
      if (answer.headers.has("X-Edged-Seen")) {
        show(await answer.blob(), JSON.parse(decodeURIComponent(answer.headers.get("X-Edged-Seen"))));
        pause = Math.max(0, EVERY_MS - (performance.now() - began));
      } else if (answer.status === 401) {
        location.reload();
      } else {
        hide((await answer.json()).error);
      }
    } catch (error) { hide(error.name === "TypeError" ? "The page does not answer." : error.message); }
    if (mine === running) timer = setTimeout(next, pause, mine);
  }

  function show(blob, told) {
    const old = address;
    address = URL.createObjectURL(blob);
    image.onload = () => { if (old) URL.revokeObjectURL(old); };
    image.src = address;
    image.classList.toggle("small", view() === "model");
    image.hidden = false;
    byId("no-picture").hidden = true;
    byId("save-picture").href = address;
    byId("save-picture").hidden = false;
    shows = told.shows;
    holds = told.region;
    bars(told.top, told.rules, told.lead);
    if (!wanted) fill(holds);
    drawRegion();
  }

  function hide(reason) {
    image.hidden = true;
    byId("save-picture").hidden = true;
    byId("no-picture").hidden = false;
    byId("no-picture").textContent = ((seen.heard.state || {}).body || {}).paused ? "Paused: no picture leaves the camera's process" : reason;
    byId("bars").replaceChildren(); // of a look that is over
    byId("score").textContent = "";
    overlay.replaceChildren();
  }

  function bars(top, rules, lead) {
    const parts = top.flatMap(([label, score]) => {
      const meter = make("meter");
      Object.assign(meter, { min: 0, max: 1, value: score });
      meter.setAttribute("aria-label", `score of ${label}`);
      return [make("span", label), meter, make("span", score.toFixed(2))];
    });
    byId("bars").replaceChildren(...parts);
    const best = top.length && top[0][0] !== byId("label").textContent ? `best: ${top[0][0]} ` : "";
    byId("score").textContent = top.length ? `${best}${top[0][1].toFixed(2)}, leads by ${lead.toFixed(2)}` : "";
    const [enter, leave, margin] = [rules.enter, rules.leave, rules.margin].map((one) => one.toFixed(2));
    byId("rules").textContent = `A label enters at ${enter} with a lead of ${margin}, and is kept down to ${leave}.`;
  }

  // the scene's coordinates ↔ those of the picture, which may show a part of it

  const toPicture = ([x, y, w, h]) => [(x - shows[0]) / shows[2], (y - shows[1]) / shows[3], w / shows[2], h / shows[3]];
  const toScene = ([x, y, w, h]) => [x * shows[2] + shows[0], y * shows[3] + shows[1], w * shows[2], h * shows[3]];
  const rounded = ([x, y, w, h]) => {
    const left = Math.round(x * 1000) / 1000, top = Math.round(y * 1000) / 1000;
    return [left, top, Math.min(Math.round(w * 1000) / 1000, +(1 - left).toFixed(3)), Math.min(Math.round(h * 1000) / 1000, +(1 - top).toFixed(3))];
  };

  function rect(kind, [x, y, w, h]) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const set = { class: kind, x: x * 1000, y: y * 1000, width: Math.max(0, w * 1000), height: Math.max(0, h * 1000) };
    for (const [name, value] of Object.entries(set)) element.setAttribute(name, value);
    return element;
  }

  function drawRegion() {
    if (view() === "model" || image.hidden) { overlay.replaceChildren(); return; }
    const [x, y, w, h] = toPicture(wanted || holds);
    const shade = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shade.setAttribute("class", "shade");
    shade.setAttribute("fill-rule", "evenodd");
    shade.setAttribute("d", `M0 0H1000V1000H0Z M${x * 1000} ${y * 1000}h${w * 1000}v${h * 1000}h${-w * 1000}Z`);
    overlay.replaceChildren(shade, rect("holds", toPicture(holds)));
    if (wanted) overlay.append(rect("tried", toPicture(wanted)));
  }

  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((one) => Math.min(1, Math.max(0, one)));
  };

  stage.addEventListener("pointerdown", (event) => {
    if (seen.role !== "control" || image.hidden || view() === "model" || event.button !== 0) return;
    from = at(event);
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = at(event);
    wanted = toScene([Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])]);
    drawRegion();
  });
  stage.addEventListener("pointerup", () => {
    if (!from) return;
    from = null;
    if (!wanted || wanted[2] < LEAST || wanted[3] < LEAST) forget();
    else choose(rounded(wanted));
  });
  stage.addEventListener("pointercancel", () => { from = null; forget(); });

  // what is wanted: tried at once, again and again, and saved only when somebody says so

  function fill(region) {
    KEYS.forEach((key, number) => { if (document.activeElement !== form[key]) form[key].value = Math.round(region[number] * 100); });
  }

  function choose(region) {
    wanted = region;
    fill(region);
    byId("region-save").disabled = byId("region-back").disabled = false;
    drawRegion();
    attempt();
  }

  function forget() {
    wanted = null;
    clearTimeout(tries);
    fill(holds);
    effect("");
    byId("region-save").disabled = byId("region-back").disabled = true;
    drawRegion();
  }

  function effect(text, kind = "") {
    byId("effect").textContent = text;
    byId("effect").className = `effect ${kind}`;
  }

  async function attempt() {
    clearTimeout(tries);
    const mine = wanted;
    if (!mine) return;
    try {
      const told = await ask("/try", { region: mine });
      if (mine !== wanted) return;
      if (told.reason) effect(told.reason, "bad");
      else {
        const best = (scores) => Object.entries(scores).sort((one, other) => other[1] - one[1])[0] || ["nothing", 0];
        const [label, score] = best(told.scores);
        const [now, before] = told.now.top[0] || ["nothing", 0];
        effect(`There: ${label} ${score.toFixed(2)}. Now: ${now} ${before.toFixed(2)}.`, "good");
      }
    } catch (error) { if (mine === wanted) effect(error.message, "bad"); }
  }

  for (const key of KEYS) {
    form[key].addEventListener("input", () => {
      const region = rounded(KEYS.map((one) => Number(form[one].value) / 100));
      clearTimeout(tries);
      wanted = region;
      const isSmall = region[2] < LEAST || region[3] < LEAST;
      byId("region-save").disabled = isSmall;
      byId("region-back").disabled = false;
      drawRegion();
      if (isSmall) effect(`A region is ${LEAST * 100} % wide and high at least, and inside the picture.`, "bad");
      else tries = setTimeout(attempt, 300);
    });
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const saved = wanted;
    try {
      tuned(await ask("/tune", { values: { "camera.region": saved } }));
      holds = saved;
      forget();
      effect("Saved: it holds from the next frame on.", "good");
    } catch (error) { effect(error.message, "bad"); }
  });
  byId("region-back").addEventListener("click", forget);
  for (const radio of document.querySelectorAll("input[name=view]")) radio.addEventListener("change", drawRegion);

  // what is set beside the file

  async function tuned(told) {
    try {
      told = told || await ask("/tuned");
    } catch { return; }
    byId("override").hidden = !Object.keys(told.tuned).length;
    byId("toml").textContent = told.toml || "";
    seen.tuned = told.tuned;
  }

  byId("undo").addEventListener("click", async () => {
    try {
      await tuned(await ask("/tune", { values: Object.fromEntries(Object.keys(seen.tuned).map((key) => [key, null])) }));
      say("Undone: the config file holds again.");
      forget();
    } catch (error) { say(error.message); }
  });

  return {
    start() { running += 1; if (allowed) next(running); },
    stop() { running += 1; clearTimeout(timer); },
    allow(may) {
      allowed = may;
      if (!may) hide("On this address no picture is shown: page.picture is false");
      else if (!timer) { running += 1; next(running); }
    },
    tuned,
  };
}
