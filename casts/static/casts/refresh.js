// Fetches the page again and writes what changed of it: all words are the server's.

import { morph } from "./morph.js";
import { sayNotify } from "./notify.js";
import { localize, setClock, tick } from "./times.js";

// Milliseconds between two fetches: quick at first, slower the longer somebody watches, as links have an allowance.
const PAUSE_MIN = 800, PAUSE_MAX = 5000, PAUSE_GROWS = 1.1, TROUBLE = 2000;
const OF_EVENTS = ["status", "message", "percent", "progress", "arc"]; // what progress.js writes of an event

// `seen()`: the number of the newest event that the page has heard of. `written(page)`, `refused()`: what is called then.
export function refresher(page, { seen, written, refused }) {
  const opened = []; // numbers of jobs whose steps the reader has asked for
  let pause = PAUSE_MIN, last = 0, timer = null, fetching = false, wanted = false, urgent = false;

  async function fetchPage() {
    const address = new URL(location.href);
    for (const number of opened) address.searchParams.append("job", number);
    const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.status === 429 || answer.status >= 500) {
      const seconds = Number(answer.headers.get("Retry-After"));
      throw new Error("later", { cause: seconds ? seconds * 1000 : TROUBLE });
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    return fresh.querySelector("#cast") ? fresh : null;
  }

  function write(fresh) {
    const main = fresh.querySelector("#cast");
    setClock(main.dataset.now);
    localize(main);
    tick(main);
    sayNotify(main);
    const changed = [...main.querySelectorAll("[data-swap]")].filter((part) => {
      const mine = page.querySelector(`[data-swap="${part.dataset.swap}"]`);
      return !mine?.isEqualNode(part);
    });
    // News has come since: what the page says of it already is newer than this.
    const older = Number(main.dataset.after) < seen();
    if (older) {
      wanted = true;
      for (const name of OF_EVENTS) {
        main.querySelector(`[data-part=${name}]`).replaceWith(page.querySelector(`[data-part=${name}]`).cloneNode(true));
      }
      for (const name of ["status", "final"]) main.dataset[name] = page.dataset[name];
    } else {
      document.title = fresh.title;
      document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    }
    morph(page, main);
    for (const { dataset } of changed) {
      page.querySelector(`[data-swap="${dataset.swap}"]`)?.dispatchEvent(new CustomEvent("swapped", { bubbles: true }));
    }
    written(main);
  }

  async function run() {
    if (fetching) return;
    clearTimeout(timer);
    timer = null;
    fetching = true;
    wanted = urgent = false;
    let trouble = 0;
    try {
      const fresh = await fetchPage();
      if (!fresh) return refused();
      write(fresh);
    } catch (error) {
      if (!(error instanceof TypeError || error.message === "later")) throw error; // TypeError: no connection
      trouble = error.cause ?? TROUBLE;
      wanted = true;
    } finally {
      fetching = false;
      last = Date.now();
    }
    pause = Math.min(pause * PAUSE_GROWS, PAUSE_MAX);
    if (wanted) later(trouble || (urgent ? 0 : pause));
  }

  function later(wait) {
    timer ??= setTimeout(run, wait);
  }

  // What nobody looks at is not fetched before somebody does.
  let asleep = false;
  document.addEventListener("visibilitychange", () => {
    if (!asleep || document.hidden) return;
    asleep = false;
    run();
  });

  return {
    // `now`: without a pause, at the cast's end.
    ask({ now = false } = {}) {
      asleep = document.hidden && !now;
      if (asleep) return;
      if (fetching) {
        wanted = true;
        urgent ||= now;
      } else if (now) run();
      else later(Math.max(0, last + pause - Date.now()));
    },
    after: later,
    open(number) {
      opened.push(number);
      this.ask({ now: true });
    },
  };
}
