// The tabs: one is in the tab order, arrow keys move between them; on a phone, links at the bottom choose one.

import { byId } from "./dom.js";

const tabs = () => [...document.querySelectorAll('[role="tab"]')];

export function choose(panel) {
  for (const tab of tabs()) {
    const chosen = tab.getAttribute("aria-controls") === panel;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

export function startTabs() {
  for (const tab of tabs()) {
    tab.addEventListener("click", () => choose(tab.getAttribute("aria-controls")));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const all = tabs();
      const next = all[(all.indexOf(tab) + step + all.length) % all.length];
      choose(next.getAttribute("aria-controls"));
      next.focus();
      event.preventDefault();
    });
  }
  for (const anchor of document.querySelectorAll("nav.bottom a")) {
    anchor.addEventListener("click", (event) => {
      event.preventDefault();
      if (anchor.dataset.tab) choose(anchor.dataset.tab);
      byId(anchor.getAttribute("href").slice(1)).scrollIntoView({ block: "start" });
    });
  }
}
