"use strict";
// Pictures go up one after the other with a bar each. Without this file the form sends them all at once.

const MEGABYTE = 1_000_000;
const queue = [];
let isSending = false;

function say(words) {
  document.getElementById("uploads-said").textContent = words;
}

function line(file) {
  const row = document.createElement("li");
  row.className = "upload";
  const name = Object.assign(document.createElement("span"), { className: "upload__name", textContent: file.name });
  const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0, ariaLabel: file.name });
  const words = Object.assign(document.createElement("span"), { className: "upload__words", textContent: "Waits" });
  row.append(name, bar, words);
  document.getElementById("uploads").append(row);
  return { row, bar, words };
}

function refuse({ row, bar, words }, reason) {
  row.classList.add("upload--refused");
  bar.remove();
  words.textContent = reason;
}

function failure(status) {
  if (status === 403) return "This page is too old. Reload it and try again.";
  if (status === 413) return "It is too large.";
  return "It could not be sent. Try again.";
}

function send(zone, { file, shown }) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("files", file);
    request.open("POST", zone.dataset.uploads);
    request.setRequestHeader("Accept", "text/plain");
    request.setRequestHeader("X-CSRFToken", zone.closest("form").elements.csrfmiddlewaretoken.value);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      shown.bar.value = total ? loaded / total : 0;
      if (loaded < total) return;
      shown.bar.removeAttribute("value");
      shown.words.textContent = "Checking";
    });
    request.addEventListener("loadend", () => {
      const isPlain = request.getResponseHeader("Content-Type")?.startsWith("text/plain");
      const said = isPlain ? request.responseText : failure(request.status);
      if (request.status === 201 && /^\d+ added\.$/.test(said)) shown.row.remove();
      else refuse(shown, said);
      resolve(request.status === 201);
    });
    shown.words.textContent = "";
    request.send(body);
  });
}

async function work(zone) {
  if (isSending) return;
  isSending = true;
  let taken = 0;
  let refused = 0;
  for (let next = queue.shift(); next; next = queue.shift()) {
    if (await send(zone, next)) taken += 1;
    else refused += 1;
    htmx.trigger("#pictures", "pictures-changed");
  }
  isSending = false;
  say(`${taken} sent${refused ? `, ${refused} not taken` : ""}.`);
}

function take(zone, files) {
  document.querySelectorAll(".upload--refused").forEach((row) => row.remove());
  for (const file of files) {
    const most = file.name.toLowerCase().endsWith(".zip") ? zone.dataset.zipBytes : zone.dataset.fileBytes;
    const shown = line(file);
    if (file.size > Number(most)) refuse(shown, `It is larger than ${Math.floor(most / MEGABYTE)} MB.`);
    else queue.push({ file, shown });
  }
  work(zone);
}

document.addEventListener("change", ({ target }) => {
  if (target.id !== "id_files") return;
  const files = [...target.files];
  target.value = ""; // sent here: the form would send them a second time
  take(target.closest(".dropzone"), files);
});

for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // a file that is dropped beside the zone must not replace the page
    const zone = event.target.closest?.(".dropzone");
    document.querySelector(".dropzone")?.classList.toggle("dropzone--over", name === "dragover" && zone !== null);
    if (name === "drop" && zone) take(zone, event.dataTransfer.files);
  });
}

// Whoever leaves while pictures are on their way is asked.
addEventListener("beforeunload", (event) => isSending && event.preventDefault());
