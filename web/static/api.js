// Requests to the server; an answer that is a mistake becomes an Error with its text. It is `lost` when the server no
// longer has the picture, which the page is told as an event, and `passing` when the same request may succeed later.

const PATIENCE = 10; // times that a server that does not answer is asked
export const PAUSE = 3000; // milliseconds in between

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server does not answer; is app.py still running?"), { passing: true });
  }
  if (answer.ok) return answer;
  let [text, lost] = [`${answer.status} ${answer.statusText}`, false];
  try {
    const { error, missing } = await answer.json();
    [text, lost] = [error ?? text, missing === "picture"];
  } catch {
    // not JSON: the status says all there is
  }
  if (lost) dispatchEvent(new CustomEvent("lost", { detail: path }));
  throw Object.assign(new Error(text), { lost, passing: answer.status === 429 || answer.status >= 500 });
}

/** The result of a call, which is tried again, PAUSE apart, while the server does not answer. */
export async function patiently(call, attempt = 1) {
  try {
    return await call();
  } catch (error) {
    if (!error.passing || attempt === PATIENCE) throw error;
    tell(error.message, true);
  }
  await new Promise((resolve) => setTimeout(resolve, PAUSE));
  return patiently(call, attempt + 1);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

export const sendJson = (path, content) =>
  askJson(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });

export const withQuery = (path, values) => {
  const known = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return `${path}?${new URLSearchParams(known)}`;
};

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const failed = (error) => error.lost || tell(error.message, true);

let hiding;

export function tell(text, bad = false) {
  const status = byId("status");
  clearTimeout(hiding);
  status.textContent = text;
  status.classList.toggle("bad", bad);
  if (text && bad) hiding = setTimeout(() => tell(""), 9000);
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1400);
  } catch {
    tell("The browser does not let this page copy: select the text instead", true);
  }
}
