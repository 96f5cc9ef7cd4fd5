// Fetches the page every few seconds and replaces its parts. Without this script the page is complete, and reloads itself.
"use strict";

const PERIOD_MS = 5000;
const TIMEOUT_MS = 10000;
const PARTS = ["live", "time"];
const pause = document.getElementById("pause");
const lost = document.getElementById("lost");
let paused = false;

function replace(page) {
  const focused = document.activeElement && document.activeElement.id;
  const scrolled = [...document.querySelectorAll(".wide")].map((table) => [table.id, table.scrollLeft]);
  for (const id of PARTS) {
    document.getElementById(id).replaceChildren(...page.getElementById(id).childNodes);
  }
  const state = document.getElementById("state");
  const news = page.getElementById("state");
  if (state.textContent !== news.textContent || state.className !== news.className) { // it is read aloud
    state.className = news.className;
    state.replaceChildren(...news.childNodes);
  }
  document.title = page.title;
  for (const [id, left] of scrolled) {
    const table = document.getElementById(id);
    if (table) table.scrollLeft = left;
  }
  const again = focused && document.getElementById(focused);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
}

async function refresh() {
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (paused) return;
    replace(page);
    lost.hidden = true;
  } catch {
    lost.hidden = false;
  }
}

async function go() {
  if (!paused && !document.hidden) await refresh();
  setTimeout(go, PERIOD_MS);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Resume" : "Pause";
  if (!paused) refresh();
});
document.addEventListener("visibilitychange", () => {
  if (!paused && !document.hidden) refresh();
});
setTimeout(go, PERIOD_MS);
