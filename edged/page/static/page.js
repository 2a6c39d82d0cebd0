// What is heard is put where it belongs. Nothing is asked of edged while nobody looks at this page.
import { startPicture } from "/picture.js";
import { startHour } from "/hour.js";
import { startModels } from "/models.js";

export const byId = (id) => document.getElementById(id);

export function make(tag, text = "", kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

/** The answer's JSON; throws an Error with edged's own sentence. */
export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Edged": "1" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The page does not answer.");
  }
  if (answer.status === 401) location.reload();
  const told = await answer.json();
  if (!answer.ok || told.error) throw new Error(told.error || `Refused (${answer.status}).`);
  return told;
}

/** SVG that the server drew, as elements of this page. */
export function draw(where, svg) {
  const found = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  where.replaceChildren(document.importNode(found, true));
}

export function say(text) {
  byId("toast").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { byId("toast").textContent = ""; }, 8000);
}

export const seen = { role: "view", cures: {}, heard: {}, up: false, over: false };
const picture = startPicture();
const hour = startHour();
const models = startModels();
let live = null;
let silence = 0;

function open() {
  if (live || document.hidden || seen.over) return;
  live = new EventSource("/live");
  const on = (kind, take) => live.addEventListener(kind, (event) => { hears(); take(JSON.parse(event.data)); });
  on("hello", hello);
  on("link", (news) => { seen.up = news.up; seen.reason = news.reason; if (!news.up) unknown(); tell(); });
  on("over", () => { seen.over = true; close(); tell(); });
  on("doing", (told) => models.doing(told.doing));
  on("event", event);
  for (const topic of ["camera", "state", "info", "model", "health", "status", "label", "result", "model_error", "control_error"]) {
    on(topic, (line) => {
      seen.up = true;
      seen.heard[topic] = line;
      (takes[topic] || (() => {}))(line.body);
      if (topic !== "result") tell();
    });
  }
  live.onerror = () => {
    seen.up = false;
    seen.reason = "The page does not answer; is edged-page running?";
    unknown();
    tell();
    if (live && live.readyState === EventSource.CLOSED) { close(); setTimeout(open, 2000); }
  };
  picture.start();
  hour.start();
}

function hears() {
  clearTimeout(silence);
  silence = setTimeout(() => { close(); open(); }, 40000);
}

function close() {
  clearTimeout(silence);
  if (live) live.close();
  live = null;
  picture.stop();
  hour.stop();
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));

function hello(told) {
  Object.assign(seen, { role: told.role, cures: told.cures, shows: told.picture, config: told.config });
  document.body.classList.toggle("looks-only", told.role !== "control");
  byId("about").textContent = `edged ${told.version}${told.role === "control" ? "" : "; this token may look, and change nothing"}`;
  byId("edit").textContent = `sudoedit ${told.config}`;
  picture.allow(told.picture);
  seen.showTuned = picture.tuned;
  picture.tuned();
  models.load();
}

const takes = {
  info(info) {
    byId("device").textContent = info.name;
    document.title = `${info.name} – edged`;
    models.wishes(info.wishes);
    facts();
  },
  model: (model) => models.runs(model),
  model_error: (told) => models.refused(told),
  control_error: (told) => say(told.reason),
  state(state) {
    byId("label").textContent = state.label;
    byId("pause").textContent = state.paused ? "Resume" : "Pause";
    byId("pause").disabled = false;
  },
  health: facts,
};

/** Nothing is known of what it sees now; the label comes again with the next connection. */
function unknown() {
  byId("label").textContent = "–";
  byId("why").textContent = "";
}

/** The one sentence at the top, and only when it is another one: a screen reader hears each of them. */
function tell() {
  const [kind, text] = verdict();
  const where = byId("verdict");
  if (where.textContent !== text) where.textContent = text;
  where.className = `verdict ${kind}`;
}

function verdict() {
  const body = (topic) => (seen.heard[topic] || {}).body;
  if (seen.over) return ["wait", "Opened in too many places; reload this page to look here again."];
  if (!seen.up) return ["bad", seen.reason || "edged does not answer"];
  const camera = body("camera"), state = body("state"), health = body("health");
  if (!camera || !state || !health) return ["wait", "edged is starting"];
  if ((body("info") || {}).page === "") return ["wait", "The page is switched off: page.enabled is false"];
  if (state.paused) return ["wait", "Paused: nothing is looked at"];
  if (camera.state === "starting") return ["wait", "The camera is starting"];
  if (camera.state !== "ok") return ["bad", `Camera ${camera.state}: ${camera.reason}`];
  const sees = `sees ${{ none: "nothing but what is ignored", unknown: "nothing that it is sure of" }[state.label] || state.label}`;
  const waiting = health.events.queued;
  if (health.faults.some((fault) => fault.kind === "broker")) {
    return ["bad", `Broker away; ${waiting} event${waiting === 1 ? "" : "s"} wait${waiting === 1 ? "s" : ""}. It ${sees}`];
  }
  if (health.degraded.length) return ["wait", `Works, with a fault: ${health.degraded[0]}`];
  return ["good", `Works, and ${sees}`];
}

const MOST_KNOWN = 100;
const knownEvents = new Set();

function event(line) {
  const body = line.body, rows = byId("events").tBodies[0];
  const key = `${line.time} ${body.event_type} ${body.label}`;
  if (knownEvents.has(key)) return; // the last ones are told again after each connection
  knownEvents.add(key);
  if (knownEvents.size > MOST_KNOWN) knownEvents.delete(knownEvents.values().next().value);
  const row = make("tr");
  row.dataset.key = key;
  const when = make("td", new Date(line.time).toLocaleTimeString(), "figure");
  when.title = line.time;
  row.append(when, make("td", `${body.event_type} ${body.label}`), make("td", body.score.toFixed(2), "figure"), make("td", body.reason));
  rows.prepend(row); // as they come, which is as they happened; by their times, a clock that is set back would hide what is new
  while (rows.rows.length > 10) rows.deleteRow(-1);
  byId("no-events").hidden = true;
  if (body.event_type === "entered") byId("why").textContent = `Since ${when.textContent}: ${body.reason}`;
}

function facts() {
  const info = (seen.heard.info || {}).body, health = (seen.heard.health || {}).body;
  if (!info || !health) return;
  const times = (count, unit) => `${count} ${unit}${count === 1 ? "" : "s"}`;
  const figures = (value, unit, digits = 0) => (value === null ? "nobody knows" : `${value.toFixed(digits)} ${unit}`);
  const broker = health.faults.some((fault) => fault.kind === "broker") ? "away" : "connected";
  const dropped = Object.values(health.events.dropped).reduce((sum, count) => sum + count, 0);
  const rows = {
    Camera: `${info.cameras.join(", ")}: ${((seen.heard.camera || {}).body || {}).state || "unknown"}`,
    Speed: `${health.fps.toFixed(1)} fps, p95 ${figures(health.latency_p95_ms, "ms", 1)}`,
    Broker: `${broker}; connected ${times(health.broker_connects, "time")}`,
    Outbox: `${health.events.delivered} delivered, ${health.events.queued} waiting, ${dropped} dropped`,
    Frames: Object.entries(health.frames).map(([fate, count]) => `${count} ${fate}`).join(", "),
    Memory: `${figures(health.memory_mb, "MB")} and ${figures(health.vision_memory_mb, "MB")} for vision`,
    Temperature: figures(health.temperature_c, "°C"),
    Board: `${info.board}, ${info.memory_mb} MB, ${info.os}`,
    Version: `edged ${info.version}, up ${times(Math.round(health.uptime_s / 60), "minute")}`,
  };
  byId("facts").replaceChildren(...Object.entries(rows).flatMap(([name, text]) => [make("dt", name), make("dd", text)]));
  byId("faults").replaceChildren(...health.degraded.map((sentence, number) => {
    const item = make("li", sentence);
    const cure = seen.cures[(health.faults[number] || {}).kind];
    if (cure) item.append(make("div", cure, "cure"));
    return item;
  }));
}

byId("pause").addEventListener("click", async () => {
  const paused = ((seen.heard.state || {}).body || {}).paused;
  try {
    await ask("/act", { action: paused ? "resume" : "pause" });
  } catch (error) { say(error.message); }
});
byId("logout").addEventListener("click", async () => {
  close();
  await ask("/logout", {}).catch(() => {});
  location.reload();
});
open();
