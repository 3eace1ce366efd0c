// Where things stand on the map: projection, clusters, labels that do not collide. Pure: numbers in, numbers out.

const DEGREE_KM = 111.32;

/** Returns the box around points `{lon, lat}`, never smaller than about two kilometres. */
export function boxOf(points) {
  const lons = points.map((one) => one.lon);
  const lats = points.map((one) => one.lat);
  const pad = (low, high) => Math.max(0, 0.02 - (high - low)) / 2;
  const [west, east, south, north] = [Math.min(...lons), Math.max(...lons), Math.min(...lats), Math.max(...lats)];
  const [x, y] = [pad(west, east), pad(south, north)];
  return { west: west - x, east: east + x, south: south - y, north: north + y };
}

/** Fits a box into a picture; degrees of longitude are as much shorter as they are on the ground. */
export function projection(box, width, height, margin) {
  const squeeze = Math.cos((((box.south + box.north) / 2) * Math.PI) / 180);
  const scale = Math.min(
    (width - 2 * margin.x) / ((box.east - box.west) * squeeze),
    (height - 2 * margin.y) / (box.north - box.south),
  );
  const [midX, midY] = [(box.west + box.east) / 2, (box.south + box.north) / 2];
  return {
    x: (lon) => width / 2 + (lon - midX) * squeeze * scale,
    y: (lat) => height / 2 - (lat - midY) * scale,
    lon: (x) => midX + (x - width / 2) / (squeeze * scale),
    lat: (y) => midY - (y - height / 2) / scale,
    kmPerPixel: DEGREE_KM / scale,
  };
}

/** Puts together what stands nearer than `reach`: the first, which matters most, takes in the others. */
export function clusters(items, reach) {
  const found = [];
  for (const item of items) {
    const near = found.find((one) => (one.x - item.x) ** 2 + (one.y - item.y) ** 2 < reach * reach);
    if (near) near.items.push(item);
    else found.push({ x: item.x, y: item.y, items: [item] });
  }
  return found;
}

/** Returns about how wide a text is: a Chinese character is as wide as high, a Latin letter about 0.56 of it. */
export function textWidth(text, size) {
  let width = 0;
  for (const letter of text) width += letter.codePointAt(0) > 0x2e7f ? 1 : letter.codePointAt(0) > 0x2ff ? 0.8 : 0.58;
  return width * size;
}

const hits = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/**
 * Finds a place for the label of each point, the most important first; `null` where none is free.
 * `points`: `{x, y, r, width}`, labels `height` high, within `width` × `height` of the picture.
 */
export function placeLabels(points, height, picture, taken = []) {
  const blocked = [
    ...taken,
    ...points.map(({ x, y, r }) => ({ left: x - r, right: x + r, top: y - r, bottom: y + r })),
  ];
  return points.map((point) => {
    const { x, y, width } = point;
    const gap = point.r + 3;
    const half = width / 2;
    const places = [
      [x + gap, y - height / 2, "start"],
      [x - gap - width, y - height / 2, "end"],
      [x - half, y - gap - height, "middle"],
      [x - half, y + gap, "middle"],
      [x + gap * 0.7, y - gap * 0.7 - height, "start"],
      [x + gap * 0.7, y + gap * 0.7, "start"],
      [x - gap * 0.7 - width, y - gap * 0.7 - height, "end"],
      [x - gap * 0.7 - width, y + gap * 0.7, "end"],
    ];
    for (const [left, top, anchor] of places) {
      const box = { left, right: left + width, top, bottom: top + height };
      const isInside = left >= 2 && box.right <= picture.width - 2 && top >= 2 && box.bottom <= picture.height - 2;
      if (!isInside || blocked.some((other) => hits(box, other))) continue;
      blocked.push(box);
      return { x: anchor === "start" ? left : anchor === "end" ? box.right : x, y: top + height / 2, anchor };
    }
    return null;
  });
}
