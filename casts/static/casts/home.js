// Keeps the list of casts fresh by one stream for the whole page. Its lines come as the server has written them.

import { localize, setClock } from "./times.js";

const RETRY_MIN = 1000, RETRY_MAX = 30000; // milliseconds
const MOST_ROWS = 200; // that a page which is left open grows to
const list = document.querySelector("#casts"), rows = document.querySelector("#rows");
const connection = document.querySelector("#connection");
let wait = RETRY_MIN, source = null;

function sayConnection(state, words) {
  connection.hidden = false;
  connection.dataset.state = state;
  connection.textContent = words;
}

function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // the server's own template, which escapes what callers and runs have written
  localize(template.content);
  return template.content.firstElementChild;
}

// The ids of casts sort by time, and the newest is on top.
function put(row) {
  const old = document.getElementById(row.id);
  if (old) {
    if (old.isEqualNode(row)) return;
    const focused = old.contains(document.activeElement);
    old.replaceWith(row);
    if (focused) row.querySelector("a").focus();
    return;
  }
  const last = rows.lastElementChild;
  if (last && row.id < last.id) return; // of a page behind this one
  if (list.dataset.grows !== "true") {
    // What was cast before this page was written is not on it because it was not looked for.
    if (row.id > list.dataset.newest) document.querySelector("#more-news").hidden = false;
    return;
  }
  if (list.hidden) { // the account's first cast
    list.hidden = false;
    document.querySelector("#nothing").remove();
  }
  row.classList.add("new");
  rows.insertBefore(row, [...rows.children].find(({ id }) => id < row.id) ?? null);
  while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
}

// The stream begins with the newest casts. Others that the page shows may have moved while nobody told of it.
async function readAgain() {
  const address = new URL(location.href);
  address.searchParams.set("account", list.dataset.account);
  const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const row of fresh.querySelectorAll("#rows > li")) {
    localize(row);
    if (document.getElementById(row.id)) put(document.importNode(row, true));
  }
}

function connect() {
  source = new EventSource(list.dataset.events);
  source.onopen = () => {
    wait = RETRY_MIN;
    sayConnection("live", "live");
    if (list.dataset.grows !== "true") readAgain().catch(() => source.onerror());
  };
  source.onmessage = (message) => {
    for (const { html } of JSON.parse(message.data).casts) put(parsed(html));
  };
  source.addEventListener("restarting", () => {
    source.close();
    setTimeout(connect, RETRY_MIN * (1 + Math.random()));
  });
  source.addEventListener("access_ended", () => {
    source.close();
    sayConnection("lost", "access ended; load the page again");
  });
  // Not left to EventSource: it gives up for good on a 502, as proxies send while a server restarts.
  source.onerror = () => {
    source.close();
    sayConnection("lost", "reconnecting…");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, RETRY_MAX);
  };
}

setClock(list.dataset.now);
localize(document);
setInterval(() => localize(rows), 60_000); // "3 minutes ago"
connect();
