// A notification of the browser's at a cast's end. Asked for on a click alone; that it is wanted is all that is stored.

const WANTED = "tell-at-end";

function stored() {
  try {
    return localStorage.getItem(WANTED) === "yes";
  } catch {
    return false; // storage is switched off
  }
}

function store(wanted) {
  try {
    if (wanted) localStorage.setItem(WANTED, "yes");
    else localStorage.removeItem(WANTED);
  } catch {
    // Then it counts for this page alone.
  }
}

// Why there can be none here; blank if there can.
function obstacle() {
  if (!window.isSecureContext) return "Browsers show notifications over https only.";
  if (!("Notification" in window)) return "This browser shows no notifications.";
  if (Notification.permission === "denied") return "Notifications of this site are blocked in the browser's settings.";
  return "";
}

let wanted = stored() && !obstacle() && Notification.permission === "granted";
let said = "";

// The button and the words beside it, which are the server's again after each refresh.
export function sayNotify(root) {
  const button = root.querySelector("[data-notify]");
  if (!button) return;
  button.setAttribute("aria-pressed", String(wanted));
  button.textContent = wanted ? "You will be told when it ends" : "Tell me when it ends";
  root.querySelector("[data-notify-said]").textContent = said;
}

export async function toggleNotify(page) {
  if (wanted) {
    wanted = false;
    said = "";
  } else {
    said = obstacle();
    if (!said && (await Notification.requestPermission()) !== "granted") said = "The browser was not allowed to.";
    if (!said) wanted = show("You will be told here when it ends.", page);
    if (!said && !wanted) said = "This browser shows notifications of installed apps only.";
  }
  store(wanted);
  sayNotify(page);
}

// Nobody needs to be told who is looking.
export function tell(page, text) {
  if (wanted && (document.hidden || !document.hasFocus())) show(text, page);
}

function show(text, page) {
  try {
    const icon = document.querySelector("link[rel=icon]").href;
    const shown = new Notification(page.dataset.spell, { body: text, icon, tag: location.pathname });
    shown.onclick = () => window.focus();
    return true;
  } catch {
    return false; // browsers of phones let service workers alone show any
  }
}
