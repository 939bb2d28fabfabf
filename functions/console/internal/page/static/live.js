// Keeps a page current while somebody looks at it. A stream says that it has changed, and it is fetched anew; lines of a
// log come in the stream. The stream ends with the tab hidden, or with nobody at it for a quarter of an hour.

const main = document.getElementById("main"), stale = document.getElementById("stale"), said = document.getElementById("said");
const idle = 15 * 60e3, held = 5000;
let stream = null, acted = Date.now(), failures = 0, over = false, busy = false, again = false;

const log = () => document.getElementById("log");

function warn(word) {
  stale.hidden = !word;
  if (word) stale.firstElementChild.textContent = stale.dataset[word];
}

// What moved under the pointer would be clicked by mistake.
const underThePointer = () => matchMedia("(hover: hover)").matches && main.querySelector(".runs:hover, .ask:hover");

async function refresh() {
  const touched = underThePointer();
  if (touched) return touched.addEventListener("pointerleave", refresh, { once: true });
  if (busy) return void (again = true);
  busy = true;
  const title = document.title;
  do {
    again = false;
    await htmx.ajax("GET", location.pathname + location.search, { source: main, target: main, swap: "innerMorph" });
  } while (again);
  busy = false;
  dispatchEvent(new Event("refreshed"));
  if (document.title !== title) said.textContent = document.title;
}

function lines(html, last) {
  const box = log(), list = box.querySelector("ol"), more = document.getElementById("more");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const added = document.createRange().createContextualFragment(html);
  if (added.firstElementChild?.value !== Number(box.dataset.last) + 1) list.replaceChildren(); // a window further on
  box.classList.remove("none");
  box.querySelector("p")?.remove();
  list.append(added);
  while (list.childElementCount > held) list.firstElementChild.remove();
  box.dataset.last = last;
  if (atEnd) box.scrollTop = box.scrollHeight;
  more.hidden = atEnd;
}

function hear(frame) {
  const field = (name) => frame.split("\n").filter((l) => l.startsWith(name + ": ")).map((l) => l.slice(name.length + 2)).join("\n");
  failures = 0;
  warn("");
  switch (field("event")) {
    case "changed": refresh(); break;
    case "lines": lines(field("data"), field("id")); break;
    case "end":
      over = field("data") === "forbidden";
      if (field("data") === "drain") failures = 1; // it takes a moment until another process is there
  }
}

async function read(signal) {
  const query = new URLSearchParams({ of: main.dataset.live });
  if (log()?.dataset.follow === "true") query.set("line", log().dataset.last);
  const response = await fetch("/stream?" + query, { signal });
  over = response.status >= 400 && response.status < 500;
  if (!response.ok) throw response.status;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    frames.forEach(hear);
  }
}

async function follow() {
  if (stream || over || document.hidden) return;
  const mine = (stream = new AbortController());
  await read(mine.signal).catch(() => failures++);
  if (stream !== mine) return; // it was ended here
  stream = null;
  if (over) return warn("over");
  if (failures > 1) warn("lost");
  setTimeout(follow, Math.min(30e3, 500 * 2 ** failures) * (0.7 + 0.6 * Math.random()));
}

function leave() {
  stream?.abort();
  stream = null;
}

// Streams that nobody looks at end; they begin again when somebody does.
function look() {
  if (document.hidden) return leave();
  if (Date.now() - acted > idle) {
    leave();
    return warn("paused");
  }
  follow();
}

function act() {
  const was = acted;
  acted = Date.now();
  if (acted - was > idle) {
    warn("");
    follow();
  }
}

if (main.dataset.live) {
  for (const sign of ["pointerdown", "keydown", "wheel", "touchmove"]) addEventListener(sign, act, { passive: true });
  document.addEventListener("visibilitychange", look);
  setInterval(look, 30e3);
  main.addEventListener("click", (e) => {
    if (e.target.id !== "more") return;
    log().scrollTop = log().scrollHeight;
    e.target.hidden = true;
  });
  follow();
}
