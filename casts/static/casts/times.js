// Times in the reader's own zone, and clocks that run. The server has written both already, times in UTC.

let ahead = 0; // milliseconds that this clock is ahead of the server's

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const FORMATS = {
  clock: new Intl.DateTimeFormat("en-GB", CLOCK),
  day: new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" }),
  moment: new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" }),
};

// As casts/pages/texts.py says it; a test compares what both make of a page.
function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 1) return "under 1 s";
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  if (hours) return `${hours} h ${two(minutes % 60)} min`;
  return minutes ? `${minutes} min ${two(seconds % 60)} s` : `${seconds} s`;
}

// A time that nobody knows exactly, rounded up to what one would say; likewise.
function about(seconds) {
  if (seconds < 10) return `${Math.max(1, Math.ceil(seconds))} s`;
  if (seconds <= 55) return `${Math.ceil(seconds / 5) * 5} s`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function ago(at) {
  const seconds = Math.max(0, Math.floor((Date.now() - ahead - at) / 1000));
  if (seconds < 60) return "just now";
  if (seconds < 3600) return AGO.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return AGO.format(-Math.floor(seconds / 3600), "hour");
  return FORMATS.moment.format(at);
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Set the clock by the time at which the server wrote the page.
export function setClock(now) {
  ahead = Date.now() - Date.parse(now);
}

// Write the times below an element in the reader's zone.
export function localize(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const iso = element.getAttribute("datetime");
    if (!iso) continue;
    const at = new Date(iso), as = element.dataset.as ?? "moment";
    if (as === "ago") {
      say(element, ago(at));
      element.title = FORMATS.moment.format(at);
    } else say(element, FORMATS[as].format(at));
  }
}

// Have the clocks below an element say how long it has been by now.
export function tick(root) {
  for (const element of root.querySelectorAll('[data-since][data-until=""]')) {
    const { since } = element.dataset;
    if (since) say(element, duration(Date.now() - ahead - Date.parse(since)));
  }
  for (const element of root.querySelectorAll("[data-ends]")) {
    const left = (Date.parse(element.dataset.ends) - Date.now() + ahead) / 1000;
    say(element, left > 0 ? element.dataset.left.replace("{}", about(left)) : element.dataset.longer);
  }
}
