// What is being written survives a reload, a restart of the server, a slip of the finger.
const PREFIX = "draft:";

const key = (area) => PREFIX + area.dataset.draft;

export function forget(form) {
  for (const area of form.querySelectorAll("[data-draft]")) sessionStorage.removeItem(key(area));
}

export function keepDrafts() {
  for (const area of document.querySelectorAll("[data-draft]")) {
    if (!area.value) area.value = sessionStorage.getItem(key(area)) ?? "";
  }
  document.addEventListener("input", (event) => {
    if (event.target.dataset?.draft) sessionStorage.setItem(key(event.target), event.target.value);
  });
}
