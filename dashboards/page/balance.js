// The balance: received = decoded + dead + lost + held, said plainly whether it holds.

import { attribute, byId, el, write } from "./dom.js";
import { say } from "./say.js";
import { ago, count } from "./show.js";
import { onChange, state } from "./state.js";

const GROUPS = [
  ["uplinks", "received", ["decoded", "dead", "lost", "held"]],
  ["readings", "decoded", ["stored", "dead", "duplicate", "held"]],
];

let verdict;
let age;
const groups = [];

export function start() {
  verdict = el("p", { class: "verdict", role: "status" });
  age = el("span", { class: "age" });
  byId("balance-tools").append(age);
  const body = byId("balance-body");
  body.append(verdict);
  for (const [name, total, parts] of GROUPS) {
    const group = {
      name,
      total,
      parts,
      title: el("h3", {}),
      bar: el("div", { class: "shares", "aria-hidden": "true" }),
      sum: el("dl", { class: "account" }),
      cells: new Map(),
    };
    for (const part of [total, ...parts]) {
      const cell = { term: el("dt", {}), value: el("dd", {}), share: el("i", { class: `part-${part}` }) };
      group.sum.append(el("div", { class: part === total ? "total" : `of-${part}` }, cell.term, cell.value));
      if (part !== total) group.bar.append(cell.share);
      group.cells.set(part, cell);
    }
    groups.push(group);
    body.append(el("div", { class: "group" }, group.title, group.bar, group.sum));
  }
  onChange((kinds) => {
    if (["balance", "link", "words"].some((kind) => kinds.has(kind))) draw();
  });
  setInterval(drawAge, 1000);
}

/** Returns by how much a group does not add up. */
const missing = (of, total, parts) => of[total] - parts.reduce((sum, part) => sum + of[part], 0);

function draw() {
  const { balance, balanceProblem: problem } = state;
  for (const group of groups) {
    write(group.title, say(`page.balance.${group.name}`));
    for (const [part, cell] of group.cells) {
      const of = balance && balance[group.name];
      const key = `${group.name}.${part}`;
      write(cell.term, say(`page.balance.part.${key}`));
      write(cell.value, of ? count(of[part]) : "–");
      if (of) cell.share.style.flexGrow = String(of[group.total] > 0 ? of[part] / of[group.total] : 0);
    }
  }
  const [level, text] = judge(balance, problem);
  attribute(verdict, "data-level", level);
  write(verdict, text);
  drawAge();
}

function judge(balance, problem) {
  if (problem && problem.code === "recovering") return ["wait", say("page.balance.recovering")];
  if (problem) return ["wait", say("page.balance.away")];
  if (!balance) return ["wait", say("page.loading")];
  const wrong = GROUPS.map(([name, total, parts]) => [name, missing(balance[name], total, parts)]).filter(
    ([, by]) => by !== 0,
  );
  if (wrong.length > 0) {
    const shown = wrong.map(([name, by]) =>
      say("page.balance.off", { group: say(`page.balance.${name}`), by: count(by) }),
    );
    return ["bad", say("page.balance.wrong", { what: shown.join(say("page.comma")) })];
  }
  const lost = balance.uplinks.lost;
  return lost > 0 ? ["lost", say("page.balance.good_lost", { lost: count(lost) })] : ["good", say("page.balance.good")];
}

function drawAge() {
  write(age, state.balance ? ago(Date.parse(state.balance.as_of)) : "");
}
