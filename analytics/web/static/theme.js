// Dark or light: the setting of the system, until the button is used.

import { byId } from "./dom.js";

const KEY = "mesh.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = [];

const now = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
export const onTheme = (listener) => listeners.push(listener);
const tell = () => requestAnimationFrame(() => listeners.forEach((listener) => listener()));

export function startTheme() {
  const kept = localStorage.getItem(KEY);
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  dark.addEventListener("change", tell);
  byId("theme").addEventListener("click", () => {
    const next = now() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem(KEY, next);
    tell();
  });
}
