// Requests to the server; an answer that is a mistake becomes an Error with its text.

export async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  let text = `${answer.status} ${answer.statusText}`;
  try {
    text = (await answer.json()).error ?? text;
  } catch {
    // not JSON: the status says all there is
  }
  throw new Error(text);
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
