// Keeps the progress page as fresh as its cast's event stream. What a run produced is only ever written as text.
// The words are those of casts/pages/presenter.py, which renders the page's first state; a test compares the two.

const page = document.querySelector("#cast");
const connection = document.querySelector("#connection");
const ahead = Date.now() - Date.parse(page.dataset.now); // milliseconds that this clock is ahead of the server's
const ENDED_WORDS = { cancelled: "was cancelled", timed_out: "timed out" };
const STEP_WORDS = { success: "done", neutral: "done", failure: "failed", timed_out: "timed out" };
const ARTIFACT_NOTES = {
  pending: page.dataset.copying,
  failed: page.dataset.notCopied,
  expired: "no longer kept",
};
const RETRY_MIN = 1000, RETRY_MAX = 30000; // milliseconds

const part = (root, name) => root.querySelector(`[data-part="${name}"]`);

function say(root, name, text) {
  const element = part(root, name);
  if (element.textContent !== text) element.textContent = text;
}

function show(root, name, visible) {
  part(root, name).hidden = !visible;
}

// Have one child of `list` for each item, keeping those that are there: nothing flickers, nothing loses its place.
function fill(list, template, items, write) {
  items.forEach((item, i) => {
    const made = () => list.appendChild(document.getElementById(template).content.firstElementChild.cloneNode(true));
    write(list.children[i] ?? made(), item);
  });
  while (list.children.length > items.length) list.lastElementChild.remove();
}

// --- words ---------------------------------------------------------------------------------------------------------

function duration(since, until) {
  const end = until ? Date.parse(until) : Date.now() - ahead;
  const seconds = Math.floor((end - Date.parse(since)) / 1000);
  if (seconds < 1) return "under 1 s";
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  if (hours) return `${hours} h ${two(minutes % 60)} min`;
  return minutes ? `${minutes} min ${two(seconds % 60)} s` : `${seconds} s`;
}

function size(count) {
  if (count === null) return "";
  for (const [name, unit] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= unit) return `${(Math.floor((count * 10) / unit) / 10).toFixed(1)} ${name}`;
  }
  return counted(count, "byte");
}

// What a cast costs, and what became of that.
function price({ cost, priceKind }, { charged_cents: charged, charge, final }) {
  if (!Number(cost)) return "free";
  const held = counted(cost, "cent");
  if (charged === null) return final ? held : `${priceKind === "flat" ? "" : "up to "}${held}, held`;
  if (!charged) return `${held}, given back`;
  const time = charge?.minutes ? ` for ${counted(charge.minutes, "minute")}` : "";
  const rest = charged < cost ? `; ${cost - charged} given back` : "";
  return `${counted(charged, "cent")}, charged${time}${rest}`;
}

function counted(number, word) {
  return `${number} ${word}${Number(number) === 1 ? "" : "s"}`;
}

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const FORMATS = {
  clock: new Intl.DateTimeFormat("en-GB", CLOCK),
  moment: new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" }),
};

// Write a time in the reader's own zone.
function sayTime(element, iso) {
  element.dateTime = iso ?? "";
  const text = iso ? FORMATS[element.dataset.as ?? "moment"].format(new Date(iso)) : "";
  if (element.textContent !== text) element.textContent = text;
}

function sayClock(element, since, until) {
  element.dataset.since = since ?? "";
  element.dataset.until = until ?? "";
  const text = since ? duration(since, until) : "";
  if (element.textContent !== text) element.textContent = text;
}

// Numbers as they were sent: 1.0 stays 1.0 and a long one keeps its digits, where the browser can.
function pretty(text, value) {
  const asSent = (_, one, context) =>
    typeof one === "number" && context?.source && JSON.rawJSON ? JSON.rawJSON(context.source) : one;
  return JSON.stringify(JSON.rawJSON ? JSON.parse(text, asSent).output : value, null, 2);
}

// --- parts ---------------------------------------------------------------------------------------------------------

function writeStep(element, step, final) {
  const done = step.status === "completed";
  const atWork = step.status === "in_progress";
  let state = atWork ? "running" : "waiting", word = state;
  if (done) {
    state = step.conclusion ?? "success";
    word = STEP_WORDS[state] ?? state.replaceAll("_", " ");
  } else if (final) {
    [state, word] = ["skipped", "not finished"];
  }
  const timed = step.started_at && state !== "waiting" && state !== "skipped";
  element.dataset.state = state;
  say(element, "name", step.name);
  say(element, "word", word);
  sayClock(part(element, "duration"), timed ? step.started_at : null, timed ? step.completed_at : null);
  sayTime(part(element, "began"), timed ? step.started_at : null);
}

function writeJobs(steps, final) {
  const jobs = [];
  for (const step of steps) {
    if (jobs.at(-1)?.name !== step.job) jobs.push({ name: step.job, steps: [] });
    jobs.at(-1).steps.push(step);
  }
  fill(part(page, "jobs"), "job", jobs, (element, job) => {
    say(element, "name", job.name);
    fill(part(element, "steps"), "step", job.steps, (line, step) => writeStep(line, step, final));
  });
  show(page, "no_steps", !jobs.length);
  say(page, "no_steps", final ? "There are no steps." : "They appear when the run has begun.");
}

function writeArtifact(element, artifact) {
  const stored = artifact.state === "stored";
  say(element, "file_name", artifact.file_name);
  say(element, "link_name", artifact.file_name);
  say(element, "facts", [ARTIFACT_NOTES[artifact.state], size(artifact.size_bytes)].filter(Boolean).join(", "));
  say(element, "digest", artifact.digest ?? "");
  show(element, "kept", stored && artifact.expires_at);
  sayTime(part(element, "expires_at"), stored ? artifact.expires_at : null);
  link(part(element, "link"), stored ? pathOf(artifact.url) : null);
}

function failedWord(error, steps) {
  const bad = steps.find((step) => step.job === error?.failed_job && step.name === error?.failed_step
    && ![null, "success", "skipped", "neutral"].includes(step.conclusion));
  return ENDED_WORDS[bad?.conclusion] ?? "failed";
}

function writeAnnotation(element, one) {
  say(element, "said", one.title ? `${one.title}: ${one.message}` : one.message);
  say(element, "place", one.file && one.line ? `${one.file}:${one.line}` : one.file ?? "");
}

// The annotations that are not shown with the error already.
function writeRemarks(all, told) {
  const facts = (one) => JSON.stringify([one.level, one.title, one.message, one.file, one.line]);
  const known = new Set(told.map(facts));
  const remarks = all.filter((one) => !known.has(facts(one)));
  show(page, "remarks_card", remarks.length);
  fill(part(page, "remarks"), "remark", remarks, (element, one) => {
    writeAnnotation(element, one);
    element.dataset.level = one.level;
    say(element, "level", one.level);
    say(element, "on", one.job ?? "");
  });
}

function writeError(error, steps) {
  show(page, "trouble", error);
  show(page, "failed", error?.failed_step);
  say(page, "failed_step", error?.failed_step ?? "");
  say(page, "failed_job", error?.failed_job ?? "");
  say(page, "failed_word", failedWord(error, steps));
  const annotations = error?.annotations ?? [];
  const detail = error?.failed_step || annotations.length ? "" : error?.message ?? "";
  show(page, "error_detail", detail);
  say(page, "error_detail", detail);
  show(page, "annotations", annotations.length);
  fill(part(page, "annotations"), "annotation", annotations, writeAnnotation);
  const errors = error?.errors ?? [], log = error?.log_tail ?? [];
  show(page, "errors", errors.length);
  fill(part(page, "errors"), "error", errors, (element, one) => {
    say(element, "pointer", one.pointer);
    say(element, "detail", one.detail);
  });
  show(page, "log_end", log.length);
  fill(part(page, "log"), "line", log, (element, line) => {
    element.dataset.level = /^##\[(error|warning)\]/.exec(line)?.[1] ?? "";
    element.textContent = line;
  });
}

// The page may be open under another name of the service's host than links are made for.
function pathOf(url) {
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
}

function link(anchor, url) {
  const safe = url && /^(https?:|\/)/.test(url);
  anchor.hidden = !safe;
  if (safe) anchor.setAttribute("href", url);
  else anchor.removeAttribute("href");
}

function sayMoment(name, iso) {
  show(page, `${name}_line`, iso);
  sayTime(part(page, name), iso);
}

function write(cast, text) {
  const status = cast.status[0].toUpperCase() + cast.status.slice(1);
  const percent = `${cast.progress} %`;
  page.dataset.status = cast.status;
  page.dataset.final = cast.final;
  document.title = `${cast.final ? status : percent} · ${page.dataset.spell}`;

  say(page, "status", status);
  say(page, "message", cast.message);
  say(page, "percent", percent);
  say(page, "status_reason", cast.status_reason);
  show(page, "reason_line", cast.status_reason !== cast.status);
  const bar = part(page, "progress");
  bar.value = cast.progress;
  bar.textContent = percent;
  bar.setAttribute("aria-valuetext", cast.step ? `${percent}, ${cast.step}` : percent);
  // What ended without success came to no 100 %, wherever it stopped.
  const shown = !cast.final || cast.status === "succeeded";
  show(page, "progress", shown);
  show(page, "percent", shown);
  say(page, "price", price(page.dataset, cast));
  show(page, "charge_note_line", cast.charge?.note);
  say(page, "charge_note", cast.charge?.note ?? "");
  part(page, "arc").setAttribute("stroke-dasharray", `${cast.progress} 100`);

  const [ended, going] = cast.started_at ? ["Took", "Running for"] : ["Ended after", "Waiting for"];
  say(page, "clock_label", cast.final ? ended : going);
  sayClock(part(page, "clock"), cast.started_at ?? page.dataset.created, cast.finished_at);
  sayMoment("started_at", cast.started_at);
  sayMoment("finished_at", cast.finished_at);
  link(part(page, "run"), cast.run_url);

  writeError(cast.error, cast.steps);
  show(page, "output_card", cast.output !== null);
  say(page, "output", cast.output === null ? "" : pretty(text, cast.output));
  show(page, "summary_card", cast.summary);
  say(page, "summary", cast.summary ?? "");
  writeRemarks(cast.annotations ?? [], cast.error?.annotations ?? []);
  show(page, "artifacts_card", cast.artifacts.length);
  fill(part(page, "artifacts"), "artifact", cast.artifacts, writeArtifact);
  writeJobs(cast.steps, cast.final);
}

// --- life ----------------------------------------------------------------------------------------------------------

let after = Number(page.dataset.after);
let wait = RETRY_MIN;

function sayConnection(state, words) {
  connection.hidden = state === "ended";
  connection.dataset.state = state;
  connection.textContent = words;
}

function connect() {
  const { events } = page.dataset; // without a token for who is let in by a session
  const source = new EventSource(`${events}${events.includes("?") ? "&" : "?"}after=${after}`);
  source.onopen = () => {
    wait = RETRY_MIN;
    sayConnection("live", "live");
  };
  source.onmessage = (message) => {
    const cast = JSON.parse(message.data);
    after = Number(message.lastEventId);
    write(cast, message.data);
    if (cast.final) {
      source.close();
      clearInterval(ticking);
      sayConnection("ended", "");
    }
  };
  // After some minutes, and when a server restarts, we are asked to reconnect; that is no trouble.
  source.addEventListener("restarting", () => {
    source.close();
    setTimeout(connect, RETRY_MIN * (1 + Math.random()));
  });
  source.addEventListener("access_ended", () => {
    source.close();
    clearInterval(ticking);
    sayConnection("lost", "access ended");
  });
  // Not left to EventSource: it gives up for good on a 502, as proxies send while a server restarts.
  source.onerror = () => {
    source.close();
    sayConnection("lost", "reconnecting…");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, RETRY_MAX);
  };
}

function tick() {
  for (const element of page.querySelectorAll('[data-since][data-until=""]')) {
    const { since } = element.dataset;
    if (since) sayClock(element, since, null);
  }
}

const ticking = setInterval(tick, 1000);
for (const element of page.querySelectorAll("time")) sayTime(element, element.getAttribute("datetime"));
if (page.dataset.final === "true") {
  clearInterval(ticking);
} else {
  sayConnection("lost", "connecting…");
  connect();
}
