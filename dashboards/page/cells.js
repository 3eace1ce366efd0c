// The cells of the space–time strip: colours and paint.

import { ticks } from "./show.js";

// Lightness falls with the value's badness, so that the picture also reads in grey and without red and green.
const RAMPS = {
  light: [
    [122, 10, 36],
    [214, 52, 40],
    [242, 150, 52],
    [246, 217, 116],
    [205, 230, 186],
    [228, 243, 233],
  ],
  dark: [
    [255, 214, 196],
    [255, 112, 84],
    [222, 136, 42],
    [140, 122, 40],
    [44, 92, 62],
    [24, 56, 45],
  ],
};

/** Returns the ends of the colours: round, the same for the whole strip. High is good for a speed and bad for the rest. */
export function bounds(matrix) {
  let high = 0;
  for (const row of matrix.rows) for (const value of row.values) if (value !== null && value > high) high = value;
  const top = ticks(0, high || 1, 4);
  const step = top[1] - top[0] || 1;
  return { high: Math.ceil((high || 1) / step) * step, isGood: matrix.property.includes("speed") };
}

/** Returns the colour of a value: red, green, blue. */
function colour(value, { high, isGood }, ramp) {
  const part = Math.max(0, Math.min(1, value / high));
  const at = (isGood ? part : 1 - part) * (ramp.length - 1);
  const [low, next] = [ramp[Math.floor(at)], ramp[Math.ceil(at)]];
  return low.map((one, i) => Math.round(one + (next[i] - one) * (at - Math.floor(at))));
}

const rampNow = () => RAMPS[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];

/** Says whether a value is a mean speed of nobody: no jam, and no free road either. */
const isNobody = (value, { isGood }) => isGood && value === 0;

/** Paints every cell where its row and time are; none where nobody passed. */
export function paint(canvas, matrix, limits, { width, height }) {
  const { box, row, x, from, to } = matrix.place;
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const ramp = rampNow();
  const gap = row > 8 ? 1 : 0;
  matrix.rows.forEach(({ values }, at) => {
    const top = box.top + at * row;
    values.forEach((value, column) => {
      const start = matrix.from + column * matrix.step;
      if (value === null || isNobody(value, limits) || start + matrix.step <= from || start >= to) return;
      const [a, b] = [Math.max(box.left, x(start)), Math.min(box.right, x(start + matrix.step))];
      pen.fillStyle = `rgb(${colour(value, limits, ramp).join(" ")})`;
      pen.fillRect(a, top, b - a + 0.4, row - gap);
    });
  });
}

/** Paints the colours from nothing to the most. */
export function paintLegend(bar, limits) {
  const { high } = limits;
  bar.width = 120;
  bar.height = 1;
  const pen = bar.getContext("2d");
  for (let at = 0; at < 120; at += 1) {
    pen.fillStyle = `rgb(${colour((at / 119) * high, limits, rampNow()).join(" ")})`;
    pen.fillRect(at, 0, 1, 1);
  }
}
