// The lineage: by default the champion's ancestors, the best and the latest proposals; all on request.

import { get } from "./api.js";
import { byId, calm, color, count, plain, score } from "./dom.js";
import { uncrowded } from "./labels.js";
import { layered, shapeOf } from "./layout.js";
import { onTheme } from "./theme.js";
import cytoscape from "./vendor/cytoscape.esm.min.mjs";
import dagre from "./vendor/cytoscape-dagre.min.mjs";

cytoscape.use(dagre);

const SOME = 100;
const ALL = 20000;
const BY_DAGRE = 250;
const ROOMY = 70; // with more proposals there is no room for every score
const FIRST = ["champion", "past_champion", "confirming", "close", "claimed"];

export function makeDag(open) {
  const host = byId("graph");
  const status = byId("dag-status");
  const nodes = new Map();
  let [all, total, champion, touched, loading] = [false, 0, "", false, false];
  let cy = null;
  let scale = 1;
  let letter = 1;
  let settling = 0;
  let picked = "";

  const element = (node) => ({ group: "nodes", data: { id: node.id, state: node.state !== "open" ? node.state : node.failed ? "failed" : node.stopped ? "stopped" : "open", label: "" } });
  const textOf = (node) => (node.mean === null ? "" : score(node.mean));
  const edges = (node) => node.parents.filter((parent) => nodes.has(parent)).map((parent) => ({ group: "edges", data: { id: `${parent}>${node.id}`, source: parent, target: node.id } }));

  function build() {
    cy?.destroy();
    cy = cytoscape({
      container: host, style: style(scale, letter), elements: [], minZoom: 0.02, maxZoom: 3, boxSelectionEnabled: false, autounselectify: false,
      hideEdgesOnViewport: nodes.size > 1500, textureOnViewport: nodes.size > 1500, pixelRatio: nodes.size > 1500 ? 1 : "auto",
    });
    cy.add([...nodes.values()].map(element));
    cy.add([...nodes.values()].flatMap(edges));
    cy.on("tap", (event) => {
      const node = event.target === cy ? nearest(event.renderedPosition) : event.target;
      if (node) open(node.id());
    });
    cy.on("mouseover", "node", (event) => { host.classList.add("over"); tell(event.target.id()); });
    cy.on("mouseout", "node", () => { host.classList.remove("over"); tell(""); });
    cy.on("zoom", () => {
      clearTimeout(settling);
      settling = setTimeout(resize, 300);
    });
    cy.on("dragpan pinchzoom scrollzoom", () => (touched = true));
    cy.autoungrabify(true);
    arrange();
  }

  function arrange() {
    if (!cy || !nodes.size || !host.clientWidth) return;
    if (nodes.size <= ROOMY) cy.batch(() => nodes.forEach((node) => cy.getElementById(node.id).data("label", textOf(node)))); // the layout makes room for them
    const shape = nodes.size <= BY_DAGRE && shapeOf([...nodes.values()], host.clientWidth, host.clientHeight);
    if (shape) cy.layout({ name: "dagre", ...shape, edgeSep: 6, nodeDimensionsIncludeLabels: nodes.size <= ROOMY, fit: false, animate: false }).run();
    else {
      const places = layered([...nodes.values()], host.clientWidth / Math.max(1, host.clientHeight));
      cy.layout({ name: "preset", positions: (node) => places[node.id()], fit: false, animate: false }).run();
    }
    if (!touched) frame();
    resize();
    label();
  }

  /** Show the scores for which there is room: the champion's first, then those of past champions and of the best. */
  function label() {
    if (!cy || cy.destroyed()) return;
    const rank = (node) => (FIRST.includes(node.state) ? FIRST.indexOf(node.state) : FIRST.length);
    const order = [...nodes.values()].sort((a, b) => rank(a) - rank(b) || b.seq - a.seq);
    const placed = order.map((node) => ({ id: node.id, ...cy.getElementById(node.id).position(), ...(node.state === "champion" ? { size: 26 * scale, font: "bold 13px" } : { size: 14 * scale, font: "10px" }), text: textOf(node), always: node.state === "champion" }));
    const kept = uncrowded(placed, letter);
    cy.batch(() => placed.forEach(({ id, text }) => cy.getElementById(id).data({ label: kept.has(id) ? text : "", side: kept.get(id) || "below" })));
  }

  /** Show everything; if proposals would become dots, show the neighbourhood of the champion. */
  function frame(whole = false) {
    cy.resize();
    cy.fit(undefined, 24);
    if (!whole && !all && cy.zoom() < 0.5 && nodes.has(champion)) cy.fit(around(cy.getElementById(champion)), 32);
    if (cy.zoom() > 1) {
      const kept = cy.extent();
      cy.zoom({ level: 1, position: { x: (kept.x1 + kept.x2) / 2, y: (kept.y1 + kept.y2) / 2 } });
    }
  }

  /** Return the proposal nearest to a click: zoomed out, dots are smaller than fingers. */
  function nearest(point) {
    let [found, least] = [null, 14 ** 2];
    cy.nodes().forEach((node) => {
      const place = node.renderedPosition();
      const away = (place.x - point.x) ** 2 + (place.y - point.y) ** 2;
      if (away < least) [found, least] = [node, away];
    });
    return found;
  }

  function around(node) {
    let [near, found] = [node, node.union(node.outgoers("node"))];
    for (let step = 0; step < 9; step++) {
      near = near.incomers("node");
      found = found.union(near);
    }
    return found;
  }

  /** Keep dots at three pixels or more when zoomed out, and letters as large as they are. */
  function resize() {
    if (!cy || cy.destroyed()) return;
    const wanted = 1.5 ** Math.max(0, Math.round(Math.log(0.27 / cy.zoom()) / Math.log(1.5)));
    const size = 1.2 ** Math.max(0, Math.ceil(Math.log(1 / cy.zoom()) / Math.log(1.2) - 1e-9));
    if (wanted === scale && size === letter) return;
    [scale, letter] = [wanted, size];
    cy.style(style(scale, letter));
    label();
  }

  function tell(id) {
    const node = nodes.get(id);
    if (node) status.textContent = `${node.mean === null ? (node.failed ? "no run gave a score" : node.stopped ? "stopped early" : node.state) : score(node.mean)} · ${plain(node.title)}`;
    else status.textContent = !total ? "No proposal yet." : nodes.size < total ? `${count(nodes.size)} of ${count(total)} proposals: the ancestors of the champion, the best, the latest` : `${count(total)} proposals`;
  }

  async function load() {
    if (loading) return;
    loading = true;
    try {
      const found = await get(`api/dag?limit=${all ? ALL : SOME}`);
      const same = cy && found.nodes.length === nodes.size && found.nodes.every((node) => nodes.has(node.id));
      [total, champion] = [found.total, found.champion];
      nodes.clear();
      found.nodes.forEach((node) => nodes.set(node.id, node));
      if (same) {
        cy.batch(() => found.nodes.forEach((node) => cy.getElementById(node.id).data("state", element(node).data.state)));
        label();
      } else build();
      tell("");
      host.dataset.nodes = String(nodes.size);
      if (picked) pick(picked);
    } finally {
      loading = false;
    }
  }

  const rearrange = calm(arrange, 800);
  const reload = calm(() => load().catch(() => {}), 3000);
  const reloadAll = calm(() => load().catch(() => {}), 20000);

  function pick(id) {
    if (!cy || !nodes.has(id)) return;
    picked = id;
    cy.$(":selected").unselect();
    cy.getElementById(id).select();
    tell(id);
  }

  function walk(key) {
    const at = cy.getElementById(nodes.has(picked) ? picked : champion || [...nodes.keys()].at(-1));
    if (!picked || at.empty()) return at;
    const place = at.position();
    const near = (found, away) => [...found].sort((a, b) => away(a.position()) - away(b.position()))[0];
    const dy = (p) => Math.abs(p.y - place.y);
    if (key === "ArrowLeft") return near(at.incomers("node"), dy);
    if (key === "ArrowRight") return near(at.outgoers("node"), dy);
    const side = key === "ArrowUp" ? -1 : 1;
    return near(cy.nodes().filter((node) => (node.position().y - place.y) * side > 1), (p) => dy(p) + 3 * Math.abs(p.x - place.x));
  }

  host.addEventListener("keydown", (event) => {
    if (!cy || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) {
      const next = walk(event.key);
      if (next?.length) {
        pick(next.id());
        const { x, y } = next.renderedPosition();
        if (x < 20 || y < 20 || x > host.clientWidth - 20 || y > host.clientHeight - 20) cy.center(next);
      }
    } else if (event.key === "Enter" && picked) open(picked);
    else if (event.key === "+" || event.key === "=" || event.key === "-") cy.zoom({ level: cy.zoom() * (event.key === "-" ? 0.8 : 1.25), renderedPosition: { x: host.clientWidth / 2, y: host.clientHeight / 2 } });
    else return;
    touched = true;
    event.preventDefault();
  });
  byId("dag-fit").addEventListener("click", () => { touched = false; if (cy) frame(true); });
  byId("dag-champion").addEventListener("click", () => {
    if (!cy || !nodes.has(champion)) return;
    pick(champion);
    touched = true;
    cy.zoom(Math.max(0.8, cy.zoom()));
    cy.center(cy.getElementById(champion));
  });
  byId("dag-all").addEventListener("click", () => {
    all = !all;
    touched = false;
    byId("dag-all").setAttribute("aria-pressed", String(all));
    byId("dag-all").textContent = all ? "Show fewer" : "Show all";
    status.textContent = "loading …";
    load().catch((error) => (status.textContent = error.message));
  });
  new ResizeObserver(() => { if (cy) { cy.resize(); if (!touched) frame(); } }).observe(host);
  onTheme(() => cy?.style(style(scale, letter)));

  return {
    load,
    knows: (tree) => nodes.has(tree),
    pick,
    take({ kind, seq, author, event }) {
      if (kind === "proposal.posted" && !nodes.has(event.tree)) {
        const node = { id: event.tree, seq, author, title: event.title, parents: event.parents, state: "open", failed: false, stopped: false, mean: null };
        total += 1;
        nodes.set(node.id, node);
        if (!cy) return build(), tell("");
        cy.add(element(node));
        cy.add(edges(node));
        host.dataset.nodes = String(nodes.size);
        tell("");
        if (nodes.size <= 1500) rearrange();
        (all ? reloadAll : reload)();
      } else if (kind === "proposal.promoted" || kind === "proposal.retired") (all ? reloadAll : reload)();
    },
    state: () => (all ? reloadAll : reload)(),
  };
}

function style(scale, letter) {
  const named = Object.fromEntries(["ink", "muted", "line", "panel", "gold", "dot", "bad", "accent", "faint", "edge"].map((name) => [name, color(`--${name}`)]));
  const size = (units) => ({ width: units * scale, height: units * scale });
  const state = (name, rules) => ({ selector: `node[state = "${name}"]`, style: rules });
  return [
    { selector: "node", style: { ...size(12), "background-color": named.dot, label: "data(label)", color: named.muted, "font-size": 10 * letter, "font-family": "system-ui, sans-serif", "text-valign": "bottom", "text-margin-y": 3, "overlay-opacity": 0 } },
    { selector: 'node[side = "above"]', style: { "text-valign": "top", "text-margin-y": -3 } },
    { selector: 'node[side = "right"]', style: { "text-valign": "center", "text-halign": "right", "text-margin-y": 0, "text-margin-x": 3 } },
    { selector: 'node[side = "left"]', style: { "text-valign": "center", "text-halign": "left", "text-margin-y": 0, "text-margin-x": -3 } },
    { selector: "edge", style: { width: 1.25 * Math.sqrt(scale), "line-color": named.edge, "curve-style": "haystack", events: "no", "overlay-opacity": 0 } },
    state("retired", { "background-color": named.faint, ...size(9) }),
    state("demoted", { "background-color": named.faint, "border-width": 2 * scale, "border-color": named.gold, ...size(10) }),
    state("failed", { "background-color": named.bad, shape: "diamond" }),
    state("stopped", { "background-color": named.faint, shape: "diamond", ...size(10) }),
    state("open", { "background-color": named.panel, "border-width": 1.5 * scale, "border-color": named.muted }),
    state("claimed", { "background-color": named.panel, "border-width": 2.5 * scale, "border-color": named.dot }),
    state("past_champion", { "background-color": named.panel, "border-width": 3 * scale, "border-color": named.gold, ...size(14) }),
    state("champion", { "background-color": named.gold, shape: "star", ...size(26), color: named.ink, "font-size": 13 * letter, "font-weight": "bold", "text-background-color": named.panel, "text-background-opacity": 0.85, "z-index": 9 }),
    { selector: "node:selected", style: { "underlay-color": named.accent, "underlay-opacity": 0.35, "underlay-padding": 6, "z-index": 10 } },
  ];
}
