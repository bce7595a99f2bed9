// Times in the reader's own zone, and clocks that run. The server has written both already, times in UTC.

let ahead = 0; // milliseconds that this clock is ahead of the server's

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const FORMATS = {
  clock: new Intl.DateTimeFormat("en-GB", CLOCK),
  day: new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" }),
  moment: new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" }),
};

// As casts/pages/words.py says it; a test compares what both make of a page.
function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 1) return "under 1 s";
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  if (hours) return `${hours} h ${two(minutes % 60)} min`;
  return minutes ? `${minutes} min ${two(seconds % 60)} s` : `${seconds} s`;
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
    say(element, iso ? FORMATS[element.dataset.as ?? "moment"].format(new Date(iso)) : "");
  }
}

// Have the clocks below an element say how long it has been by now.
export function tick(root) {
  for (const element of root.querySelectorAll('[data-since][data-until=""]')) {
    const { since } = element.dataset;
    if (since) say(element, duration(Date.now() - ahead - Date.parse(since)));
  }
}
