// The parts of a chart: grid, alerts, limits, curve. Each takes a scale and gives SVG; nothing here is remembered.

import { markParts, svg } from "./dom.js";
import { choose, say } from "./say.js";
import { moment, number, severityName } from "./show.js";

/** Writes a comparison as people do. */
export const sign = (op) => ({ "<=": "≤", ">=": "≥", "!=": "≠", "==": "=" })[op] || op;

/** The stretch of values to show: the data, and of the limits the nearest on either side and those not far away. */
export function stretch(values, limits) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const reach = Math.max(high - low, Math.abs(high) * 0.05, 1e-6);
  const below = limits.map((one) => one.limit).filter((limit) => limit < low);
  const above = limits.map((one) => one.limit).filter((limit) => limit > high);
  const near = (limit) => limit > low - reach && limit < high + reach;
  const wanted = [...below.slice(-1), ...above.slice(0, 1), ...limits.map((one) => one.limit).filter(near)];
  // A limit that is far away would press the line flat.
  const kept = wanted.filter((limit) => limit > low - 6 * reach && limit < high + 6 * reach);
  [low, high] = [Math.min(low, ...kept), Math.max(high, ...kept)];
  const pad = Math.max((high - low) * 0.08, Math.abs(high) * 0.005, 1e-6);
  return [low - pad, high + pad];
}

/** Draws the grid with its numbers and times. */
export function axes({ x, y, box }, yTicks, xTicks, em) {
  const across = yTicks.map((at) => [
    svg("path", { class: "grid", d: `M${box.left} ${y(at)}H${box.right}` }),
    svg("text", {
      class: "tick",
      x: box.left - 6,
      y: y(at),
      "text-anchor": "end",
      "dominant-baseline": "central",
      text: number(at),
    }),
  ]);
  const down = xTicks.map(([at, text]) => [
    svg("path", { class: "grid", d: `M${x(at)} ${box.top}V${box.bottom}` }),
    svg("text", { class: "tick", x: x(at), y: box.bottom + 1.1 * em, "text-anchor": "middle", text }),
  ]);
  return [...across, ...down].flat();
}

/** Marks when alerts began to hold (pale), were raised (the mark) and ended. */
export function bands({ x, box }, alerts, [from, to], em) {
  const clip = (at) => Math.max(from, Math.min(to, at));
  return alerts.slice(0, 60).flatMap((alert) => {
    const [began, raised] = [Date.parse(alert.began_at), Date.parse(alert.raised_at)];
    const ended = alert.resolved_at === null ? to : Date.parse(alert.resolved_at);
    const part = (kind, a, b) =>
      svg("rect", {
        class: `band ${kind} is-${alert.severity}`,
        x: x(clip(a)),
        y: box.top,
        width: Math.max(0, x(clip(b)) - x(clip(a))),
        height: box.bottom - box.top,
      });
    const r = 0.5 * em;
    const words = `${severityName(alert.severity)}: ${choose(alert.message)}\n${say("page.alerts.times", { began: moment(began), raised: moment(raised), received: moment(Date.parse(alert.received_at)) })}`;
    const sign =
      raised >= from &&
      raised <= to &&
      svg(
        "g",
        {},
        svg("path", { class: `raised is-${alert.severity}`, d: `M${x(raised)} ${box.top}V${box.bottom}` }),
        svg(
          "svg",
          {
            class: `mark is-${alert.severity}`,
            x: x(raised) - r,
            y: box.top - r,
            width: 2 * r,
            height: 2 * r,
            viewBox: "0 0 16 16",
          },
          svg("title", { text: words }),
          markParts(alert.severity),
        ),
      );
    return [part("pending", began, Math.min(raised, ended)), part("firing", raised, ended), sign || null].filter(
      Boolean,
    );
  });
}

/** Draws limits as dashed lines with their colour, mark and number; where they clear, as dots. */
export function lines({ y, box }, limits, labels, em) {
  let floor = Infinity;
  const parts = [];
  limits.forEach((one, at) => {
    // Labels are pushed apart upwards; a line leads to each.
    const label = Math.min(y(one.limit), floor - 1.05 * em);
    floor = label;
    parts.push(
      svg("path", {
        class: `limit is-${one.severity}`,
        d: `M${box.left} ${y(one.limit)}H${box.right}L${box.right + 0.35 * em} ${label}`,
      }),
    );
    if (one.clear !== null && y(one.clear) > box.top && y(one.clear) < box.bottom)
      parts.push(svg("path", { class: `clear is-${one.severity}`, d: `M${box.left} ${y(one.clear)}H${box.right}` }));
    parts.push(
      svg(
        "svg",
        {
          class: `mark is-${one.severity}`,
          x: box.right + 0.4 * em,
          y: label - 0.32 * em,
          width: 0.64 * em,
          height: 0.64 * em,
          viewBox: "0 0 16 16",
        },
        markParts(one.severity),
      ),
    );
    const words = say("page.chart.limit", {
      rule: one.rule.name,
      severity: severityName(one.severity),
      when: one.rule.when,
      clear: one.rule.clear || say("page.chart.not_when"),
    });
    parts.push(
      svg(
        "text",
        { class: "tick strong", x: box.right + 1.2 * em, y: label, "dominant-baseline": "central", text: labels[at] },
        svg("title", { text: words }),
      ),
    );
  });
  return parts;
}

/** Draws the values; where more than `gap` lies between two, nothing is known and nothing is drawn. */
export function curve({ x, y, points }, gap) {
  let path = "";
  let before = null;
  for (const point of points) {
    const isApart = before === null || point.at - before > gap;
    path += `${isApart ? "M" : "L"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`;
    // A value alone is a dot.
    if (isApart) path += "h0.01";
    before = point.at;
  }
  const last = points[points.length - 1];
  return [
    svg("path", { class: "curve", d: path }),
    svg("circle", { class: "last", cx: x(last.at), cy: y(last.value), r: 4 }),
  ];
}
