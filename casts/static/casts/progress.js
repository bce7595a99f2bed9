// Keeps the progress page as fresh as its cast's event stream. Of an event it writes the state at once; for all else
// it fetches the page again. What a run produced is only ever written as text.

import "./copy.js";
import { sayNotify, tell, toggleNotify } from "./notify.js";
import { refresher } from "./refresh.js";
import { localize, setClock, tick } from "./times.js";

const page = document.querySelector("#cast");
const connection = document.querySelector("#connection");
const RETRY_MIN = 1000, RETRY_MAX = 30000; // milliseconds
const COPYING_MIN = 4000, COPYING_MAX = 60000; // likewise, to look for artifacts that are copied after the end

let after = Number(page.dataset.after);
let wait = RETRY_MIN, copying = COPYING_MIN;
let source = null, over = page.dataset.final === "true";

const part = (name) => page.querySelector(`[data-part="${name}"]`);

function say(name, text) {
  const element = part(name);
  if (element.textContent !== text) element.textContent = text;
}

function sayConnection(state, words) {
  connection.hidden = state === "ended";
  connection.dataset.state = state;
  connection.textContent = words;
}

function sayState(cast) {
  const status = cast.status[0].toUpperCase() + cast.status.slice(1);
  const percent = `${cast.progress} %`;
  page.dataset.status = cast.status;
  document.title = `${cast.final ? status : percent} · ${page.dataset.spell}`;
  const icon = document.querySelector("link[rel=icon]");
  icon.href = icon.href.replace(/[a-z]+\.svg$/, `${cast.status}.svg`);
  say("status", status);
  say("message", cast.message);
  say("percent", percent);
  const bar = part("progress");
  bar.value = cast.progress;
  bar.setAttribute("aria-valuetext", cast.step ? `${percent}, ${cast.step}` : percent);
  part("arc").setAttribute("stroke-dasharray", `${cast.progress} 100`);
}

function end(words) {
  source?.close();
  over = true;
  clearInterval(ticking);
  sayConnection(words ? "lost" : "ended", words);
}

function ended(message) {
  end("");
  tell(page, `${document.title}: ${message}`);
}

const pageAgain = refresher(page, {
  seen: () => after,
  written({ dataset }) {
    after = Math.max(after, Number(dataset.after));
    if (dataset.final === "true" && !over) ended(part("message").textContent); // sooner than the stream
    if (dataset.copying !== "true") return;
    pageAgain.after(copying); // no event tells of it
    copying = Math.min(copying * 1.5, COPYING_MAX);
  },
  refused: () => end("access ended"),
});

function connect() {
  if (over) return;
  const { events } = page.dataset; // without a token for who is let in by a session
  source = new EventSource(`${events}${events.includes("?") ? "&" : "?"}after=${after}`);
  source.onopen = () => {
    wait = RETRY_MIN;
    sayConnection("live", "live");
  };
  source.onmessage = (message) => {
    const cast = JSON.parse(message.data);
    after = Number(message.lastEventId);
    sayState(cast);
    pageAgain.ask({ now: cast.final });
    if (cast.final) ended(cast.message);
  };
  // After some minutes, and when a server restarts, we are asked to reconnect; that is no trouble.
  source.addEventListener("restarting", () => {
    source.close();
    setTimeout(connect, RETRY_MIN * (1 + Math.random()));
  });
  source.addEventListener("access_ended", () => end("access ended"));
  // Not left to EventSource: it gives up for good on a 502, as proxies send while a server restarts.
  source.onerror = () => {
    source.close();
    if (over) return;
    sayConnection("lost", "reconnecting…");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, RETRY_MAX);
  };
}

// The steps of a job that came without them.
function openJob(event) {
  const link = event.target.querySelector?.("a[data-job]") ?? event.target.closest?.("a[data-job]");
  if (!link || (event.type === "toggle" && !event.target.open)) return;
  event.preventDefault();
  pageAgain.open(link.dataset.job);
}

const ticking = setInterval(() => tick(page), 1000);
document.documentElement.classList.add("scripted");
setClock(page.dataset.now);
localize(page);
sayNotify(page);
setInterval(() => localize(page), 60_000); // "3 minutes ago"
page.addEventListener("toggle", openJob, true);
page.addEventListener("click", (event) => {
  if (event.target.matches("a[data-job]")) openJob(event);
  else if (event.target.closest("[data-notify]")) toggleNotify(page);
});
if (over) {
  clearInterval(ticking);
  if (page.dataset.copying === "true") pageAgain.after(copying);
} else {
  sayConnection("lost", "connecting…");
  connect();
}
