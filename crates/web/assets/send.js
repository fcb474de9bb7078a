// Sends forms in the background; what they lead to comes over the stream. Why one was not taken is
// said beside it.
import { forget } from "./drafts.js";
import { announce } from "./patch.js";

function alertOf(form) {
  const home = form.closest("[data-hold]") ?? form.closest("#actions") ?? form;
  return form.querySelector(":scope > [role=alert]") ?? home.querySelector(":scope > [role=alert]");
}

function say(form, text) {
  const alert = alertOf(form);
  if (!alert) return;
  alert.textContent = text;
  alert.hidden = !text;
}

function when(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

async function reason(response) {
  if (response.redirected || response.status === 401) return "You are signed out. Reload this page and sign in again.";
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    return `The server answered ${response.status}. Try again.`;
  }
  if (problem.code === "already_answered") {
    return `${problem.answered_by?.name ?? "Somebody"} answered this first, ${when(problem.answered_at)}.`;
  }
  const text = problem.detail ?? problem.title ?? String(response.status);
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

async function send(form, submitter) {
  const body = new FormData(form, submitter);
  const buttons = [...form.querySelectorAll("button")].filter((button) => !button.disabled);
  for (const button of buttons) button.disabled = true;
  form.setAttribute("aria-busy", "true");
  say(form, "");
  try {
    // Not `form.action`: a button of that name hides it.
    const response = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { "X-Requested-With": "holdpoint" } });
    if (!response.ok || response.redirected) {
      say(form, await reason(response));
      return;
    }
    const hold = form.closest("[data-hold]");
    if (hold) hold.dataset.sent = "1";
    forget(form);
    if (form.hasAttribute("data-clear")) {
      form.reset();
      for (const file of form.querySelectorAll("input[type=file]")) file.dispatchEvent(new Event("change", { bubbles: true }));
    }
    announce("Sent");
    document.dispatchEvent(new CustomEvent("holdpoint:sent"));
  } catch {
    say(form, "The server cannot be reached right now. Nothing was lost: try again in a moment.");
  } finally {
    form.removeAttribute("aria-busy");
    for (const button of buttons) button.disabled = false;
  }
}

export function sendInBackground() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form[data-send]")) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    send(form, event.submitter);
  });
}
