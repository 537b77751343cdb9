// Draws rooms and arrows as an SVG. An arrow that others imply (cli uses ops by way of train) is no line, but a word in
// the box, so that the picture stays readable.

const box = { width: 262, height: 62, radius: 6 };
const step = { x: 292, y: 102 };
const margin = 34;
const colors = {
  typescript: { fill: '#e8f0fb', line: '#3b6fb6' },
  contract: { fill: '#f1f1f1', line: '#6b6b6b' },
  native: { fill: '#fdeedd', line: '#c4731b' },
};

function drawArchitecture({ rooms, arrows }) {
  const height = placed(rooms);
  const drawn = arrows.filter((arrow) => !isImplied(arrow, arrows));
  const width = 2 * margin + 2 * step.x + box.width;
  const contract = rooms.find(({ language }) => language === 'contract');
  const binding = rooms.find(({ id }) => id === 'native/binding');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    'font-family="DejaVu Sans, Verdana, sans-serif" text-anchor="middle">',
    '<title>The rooms of spherenet: an arrow goes from a room to one that it uses</title>',
    ...Object.entries(colors).map(([language, { line }]) =>
      `<marker id="${language}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">` +
      `<path d="M0 0.5 L10 5 L0 9.5 z" fill="${line}"/></marker>`),
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...drawn.map((arrow) => drawArrow(arrow, drawn)),
    ...(contract && binding ? [drawLoading(contract, binding)] : []),
    ...rooms.map((room) => drawRoom(room, wordsFor(room, arrows, drawn))),
    '</svg>',
    '',
  ].join('\n');
}

/** Gives each room its place and returns the height of the picture. Floors where nobody lives take no space. */
function placed(rooms) {
  const inhabited = [...new Set(rooms.map(({ floor }) => floor))].sort((a, b) => a - b);
  for (const room of rooms) {
    room.x = margin + room.column * step.x;
    room.y = margin + inhabited.indexOf(room.floor) * step.y;
  }
  return 2 * margin + (inhabited.length - 1) * step.y + box.height;
}

/** Whether `from` reaches `to` by another way. */
function isImplied({ from, to }, arrows) {
  const seen = new Set();
  const open = arrows.filter((arrow) => arrow.from === from && arrow.to !== to).map((arrow) => arrow.to);
  while (open.length > 0) {
    const room = open.pop();
    if (room === to) return true;
    if (seen.has(room)) continue;
    seen.add(room);
    open.push(...arrows.filter((arrow) => arrow.from === room).map((arrow) => arrow.to));
  }
  return false;
}

function drawArrow({ from, to }, drawn) {
  const leaving = drawn.filter((arrow) => arrow.from === from).map((arrow) => arrow.to);
  const coming = drawn.filter((arrow) => arrow.to === to).map((arrow) => arrow.from);
  const { line } = colors[from.language];
  const attributes = `fill="none" stroke="${line}" stroke-width="1.5" marker-end="url(#${from.language})"`;
  if (from.floor === to.floor) {
    const [start, end] = from.x < to.x ? [from.x + box.width, to.x] : [from.x, to.x + box.width];
    return `<path d="M${start} ${from.y + box.height / 2} L${end} ${to.y + box.height / 2}" ${attributes}/>`;
  }
  const [x1, y1] = [port(from, to, leaving), from.y + box.height];
  const [x2, y2] = [port(to, from, coming), to.y - 2];
  const bend = Math.min((y2 - y1) / 2, step.y);
  return `<path d="M${x1} ${y1} C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}" ${attributes}/>`;
}

/** Where on its edge a room meets its arrow to or from `other`: arrows lie side by side and do not cross there. */
function port(room, other, others) {
  const order = [...others].sort((a, b) => a.x - b.x || a.floor - b.floor);
  return Math.round(room.x + (box.width * (order.indexOf(other) + 1)) / (order.length + 1));
}

/** The one arrow that no source file has: the addon is loaded at run time. */
function drawLoading(from, to) {
  const x = from.x + box.width / 2;
  const { line } = colors.contract;
  return [
    `<path d="M${x} ${from.y + box.height} V${to.y - 2}" stroke="${line}" stroke-width="1.5" stroke-dasharray="5 4" ` +
    'marker-end="url(#contract)"/>',
    `<text x="${x + 12}" y="${(from.y + box.height + to.y) / 2 + 4}" font-size="11" text-anchor="start" fill="${line}">` +
    'N-API, loaded at run time; a test compares both</text>',
  ].join('\n');
}

/** The rooms below that a room uses too, but for those that nearly all use. */
function wordsFor(room, arrows, drawn) {
  const others = arrows.filter((arrow) => arrow.from === room && !drawn.includes(arrow)).map(({ to }) => to);
  const named = others.filter(({ name, language }) => name !== 'core' && name !== 'math' && language !== 'contract');
  return named.sort((a, b) => a.floor - b.floor || a.column - b.column).map(({ name }) => name).join(', ');
}

function drawRoom({ x, y, id, language, title = id, text }, words) {
  const { fill, line } = colors[language];
  const centre = x + box.width / 2;
  const lines = words ? [20, 36, 52] : [27, 45];
  return [
    `<rect x="${x}" y="${y}" width="${box.width}" height="${box.height}" rx="${box.radius}" fill="${fill}" stroke="${line}"/>`,
    `<text x="${centre}" y="${y + lines[0]}" font-size="14" font-weight="bold" fill="#222222">${title}</text>`,
    `<text x="${centre}" y="${y + lines[1]}" font-size="12" fill="#222222">${text}</text>`,
    ...(words ? [`<text x="${centre}" y="${y + lines[2]}" font-size="10" fill="#5a5a5a">also ${words}</text>`] : []),
  ].join('\n');
}

module.exports = { drawArchitecture };
