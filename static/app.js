"use strict";
// The little that htmx and HTML do not do by themselves. No build step; every page works without this file.

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function toast(words, kind) {
  const line = document.createElement("p");
  line.className = `toast toast--${kind}`;
  line.textContent = words;
  document.getElementById("toasts").append(line);
}

// Ctrl+Enter (or Cmd+Enter) in a prompt submits its form.
document.addEventListener("keydown", (event) => {
  const field = event.target;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && field.matches?.("[data-submit-on]")) {
    event.preventDefault();
    field.form.requestSubmit();
  }
});

// Browsers give the clipboard to https and localhost only; elsewhere the words are at least selected.
async function copy(shown) {
  try {
    await navigator.clipboard.writeText(shown.textContent);
    toast("Copied.", "success");
  } catch {
    getSelection().selectAllChildren(shown);
    toast("Selected. Copy it with Ctrl+C, or by a long press.", "success");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-toggle], [data-copy], [data-print]");
  if (!button) return;
  if ("print" in button.dataset) return print();
  if (button.dataset.copy) return copy(document.querySelector(button.dataset.copy));
  const root = document.documentElement;
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark;
  root.dataset.theme = isDark ? "light" : "dark";
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; SameSite=Lax${secure}`;
});

// Toasts leave by themselves: the style sheet fades them, this removes them.
document.addEventListener("animationend", (event) => {
  if (event.animationName === "toast-leaves") event.target.remove();
});

// A menu closes when one clicks beside it or presses Escape.
function closeMenus(except) {
  document.querySelectorAll("[data-menu][open]").forEach((menu) => menu !== except && menu.removeAttribute("open"));
}

document.addEventListener("click", (event) => closeMenus(event.target.closest("[data-menu]")));
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("[data-menu][open]");
  if (!menu) return;
  closeMenus();
  menu.querySelector("summary").focus();
});

// A form that leads to another page is sent once: a double click would make two teams, or two keys.
const SENT_MS = 10_000; // after it one may try again; a download stays on its page
function release(form) {
  delete form.dataset.sent;
  form.querySelectorAll("[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
}

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (event.defaultPrevented || form.method !== "post") return; // htmx sends it, or it is a search
  if ("sent" in form.dataset) return event.preventDefault();
  form.dataset.sent = "";
  submitter?.setAttribute("aria-busy", "true");
  setTimeout(release, SENT_MS, form);
});

// Whoever comes back finds the page as it was left, and none of its buttons waiting for an answer that led away.
addEventListener("pageshow", ({ persisted }) => {
  document.querySelectorAll("[data-sent]").forEach(release);
  if (persisted && document.querySelector(".htmx-request")) location.reload();
});

// What htmx would ask with window.confirm is asked in our own dialog.
document.addEventListener("htmx:confirm", (event) => {
  if (!event.detail.question) return;
  event.preventDefault();
  const dialog = document.getElementById("confirm");
  const { elt, path, issueRequest } = event.detail;
  const { yes, no } = elt.dataset;
  dialog.querySelector(".dialog__question").textContent = event.detail.question;
  dialog.querySelector(".dialog__yes").textContent = yes ?? "Delete";
  dialog.querySelector(".dialog__yes").classList.toggle("button--danger", !yes);
  dialog.querySelector(".dialog__no").textContent = no ?? "Keep";
  dialog.returnValue = "";
  const answer = () => (elt.isConnected ? issueRequest(true) : goOn(path));
  dialog.addEventListener("close", () => dialog.returnValue && answer(), { once: true });
  dialog.showModal();
});

// The page was redrawn while it was asked: what was agreed to goes to the element that stands there now.
function goOn(path) {
  const twin = document.querySelector(`[hx-confirm][hx-post="${path}"]`);
  if (!twin) return toast("That is no longer there.", "error");
  const question = twin.getAttribute("hx-confirm");
  twin.removeAttribute("hx-confirm");
  if (twin.matches("form")) twin.requestSubmit();
  else twin.click();
  twin.setAttribute("hx-confirm", question);
}

// What was written while an answer was on its way, and is not in what was sent, stays when the answer redraws it.
const kept = new WeakMap();
function isNews(field, { elt, formData }) {
  const wasSent = formData.has(field.name) && field.form && elt.closest("form") === field.form;
  return field.value !== (wasSent ? formData.get(field.name) : field.defaultValue);
}

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const fields = [...detail.target.querySelectorAll("textarea[id], input:is([type=text], [type=number])[id]")];
  const news = fields.filter((field) => isNews(field, detail.requestConfig));
  kept.set(
    detail.xhr,
    news.map(({ id, value, selectionStart, selectionEnd }) => ({ id, value, selectionStart, selectionEnd })),
  );
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  for (const { id, value, selectionStart, selectionEnd } of kept.get(detail.xhr) ?? []) {
    const field = document.getElementById(id);
    if (!field || field.value === value) continue;
    field.value = value;
    if (selectionStart !== null) field.setSelectionRange(selectionStart, selectionEnd);
  }
});

// The prompt outlives a page that must be loaded anew: the session ended, another team, a token that is too old.
const promptKey = `prompt of ${location.pathname}${location.search}`;
const findPrompt = () => document.querySelector("#composer [name=prompt]");
if (findPrompt() && sessionStorage.getItem(promptKey)) {
  findPrompt().value = sessionStorage.getItem(promptKey);
  sessionStorage.removeItem(promptKey);
}
document.addEventListener("htmx:beforeOnLoad", ({ detail: { xhr } }) => {
  const mustLoad = xhr.status === 403 || xhr.getResponseHeader("HX-Redirect") || xhr.getResponseHeader("HX-Refresh");
  const words = findPrompt()?.value;
  if (mustLoad && words) sessionStorage.setItem(promptKey, words);
});

// A price that is being asked for is waited for: nobody is charged what they have not seen. A change makes it stale
// until the request that carries the change is on its way.
const PRICED = "#composer :is([name=count], [name=product], [name=size], [name=quality], [name=drawn_with])";
document.addEventListener("change", (event) => {
  if (!event.target.matches(PRICED)) return;
  document.getElementById("quote").dataset.stale = "";
  event.target.form.dataset.changed = "";
});
document.addEventListener("htmx:beforeRequest", ({ target }) => {
  if (target.id === "quote") delete target.dataset.stale;
  if (target.id === "composer") delete target.dataset.changed;
});

// The price that comes with a card is of what was sent; whoever has changed something since is told that price.
document.addEventListener("htmx:oobBeforeSwap", ({ target, detail }) => {
  if (target.id !== "quote" || !("changed" in target.closest("form").dataset)) return;
  detail.shouldSwap = false;
  htmx.trigger(document.body, "balance-changed");
});

const isPending = (quote) => "stale" in quote.dataset || quote.classList.contains("htmx-request");
document.addEventListener("htmx:confirm", (event) => {
  const quote = document.getElementById("quote");
  if (event.detail.elt.id !== "composer" || !quote || !isPending(quote)) return;
  event.preventDefault();
  if ("waits" in quote.dataset) return; // the second half of a double click
  quote.dataset.waits = "";
  const button = event.detail.elt.querySelector(".composer__go");
  button.setAttribute("aria-busy", "true");
  quote.addEventListener("htmx:afterRequest", function submit() {
    if (isPending(quote)) return; // another change is on its way
    quote.removeEventListener("htmx:afterRequest", submit);
    delete quote.dataset.waits;
    button.removeAttribute("aria-busy");
    event.detail.issueRequest(true);
  });
});

// A running pass counts down. When its time is up, what depends on it is asked for again.
const ends = new WeakMap();
setInterval(() => {
  for (const clock of document.querySelectorAll("[data-seconds-left]")) {
    if (!ends.has(clock)) ends.set(clock, Date.now() + 1000 * clock.dataset.secondsLeft);
    const left = Math.max(0, Math.round((ends.get(clock) - Date.now()) / 1000));
    clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (left) continue;
    clock.removeAttribute("data-seconds-left");
    htmx.trigger(document.body, "balance-changed");
  }
}, 1000);

// The next rough picture takes the place of the last one only when it is decoded, so that nothing flickers.
function showRough(progress) {
  const shown = document.getElementById(progress.id.replace("-progress", "-rough"));
  if (!shown || !progress.dataset.rough) return;
  const next = new Image();
  next.id = shown.id;
  next.className = shown.className;
  next.alt = "";
  next.src = progress.dataset.rough;
  next.decode().then(
    () => document.getElementById(shown.id)?.replaceWith(next),
    () => {}, // it has gone: the picture itself is about to come
  );
}

document.addEventListener("htmx:load", ({ target }) => {
  if (target.matches?.("[data-rough]")) showRough(target);
  target.querySelectorAll?.("[data-rough]").forEach(showRough);
});

// A new try begins without the last one's complaints.
document.addEventListener("htmx:beforeRequest", ({ target }) => {
  if (target.id !== "composer") return;
  target.querySelectorAll(".error, .notice--wrong").forEach((element) => element.remove());
  target.querySelectorAll(".field--wrong").forEach((element) => element.classList.remove("field--wrong"));
  target.querySelectorAll("[aria-invalid]").forEach((element) => element.removeAttribute("aria-invalid"));
});

// A form that came back on a page of its own says at once what is wrong with it.
document.querySelector("main [aria-invalid=true]")?.focus();

document.addEventListener("htmx:afterSettle", ({ target, detail }) => {
  const behavior = calm.matches ? "auto" : "smooth";
  if (target.id === "composer") {
    const wrong = target.querySelector("[aria-invalid=true]");
    if (wrong) wrong.focus();
    else target.querySelector("[role=alert]")?.scrollIntoView({ block: "nearest", behavior });
  }
  if (detail.target?.id === "feed" && detail.xhr?.status === 201) {
    detail.target.firstElementChild.scrollIntoView({ block: "nearest", behavior });
  }
});

// A caption is kept when it is left. One that could not be shows the button for trying again.
document.addEventListener("htmx:afterRequest", ({ target, detail }) => {
  if (!target.matches?.(".lesson__caption")) return;
  target.querySelector("button").classList.toggle("without-js", detail.successful === true);
});

// Whoever clicked hears that it failed; a card that polls simply tries again.
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, ({ target, detail }) => {
    if (target.matches?.("[data-poll]")) return;
    const status = detail.xhr?.status;
    if (status === 403) toast("This page is too old. Reload it and try again.", "error");
    else if (status === 404) toast("That is no longer there.", "error");
    else toast("That did not work. Try again in a moment.", "error");
  });
}
