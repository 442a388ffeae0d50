"use strict";
// While a report is being made its page is fetched again, and what has changed is put in place. Without this file the
// page loads itself again: see <noscript> in its head.
const EVERY_MS = 1500;
const ANSWER_MS = 15000;
const state = document.getElementById("state");

async function look() {
  let answer, text;
  try {
    const wait = AbortSignal.timeout(ANSWER_MS);
    answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual", signal: wait });
    text = await answer.text();
  } catch {
    setTimeout(look, EVERY_MS); // the line is down, or was cut: later
    return;
  }
  if (!answer.ok) {
    location.reload(); // logged out, or deleted elsewhere: the server says which
    return;
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.getElementById("state");
  if (fresh.hasAttribute("data-watch")) {
    setTimeout(look, EVERY_MS);
  }
  if (fresh.innerHTML !== state.innerHTML && !state.contains(document.activeElement)) {
    state.replaceChildren(...fresh.childNodes); // never from under the keyboard
  } else if (!fresh.hasAttribute("data-watch")) {
    location.reload();
  }
}

if (state && state.hasAttribute("data-watch")) {
  setTimeout(look, EVERY_MS);
}
