import { met, type Result } from "./result.ts";

const WIDTH = 1060;
const LABELS = 640;
const ROW = 26;
const TOP = 56;
/** What a ratio takes as text. */
const NUMBER_WIDTH = 36;
/** Ratios beyond are cut off. */
const MAX_RATIO = 1.6;

const MET = "#2a7d4f";
const MISSED = "#c0392b";
const OTHER = "#5b7aa6";

/** Every comparison as a bar, with what it was compared with at 1 and its target as a mark. */
export function plot(results: readonly Result[], machine: string): string {
  const rows = results.filter(({ ratio }) => !Number.isNaN(ratio));
  const height = TOP + rows.length * ROW + 30;
  const x = (ratio: number): number => LABELS + (Math.min(ratio, MAX_RATIO) / MAX_RATIO) * (WIDTH - LABELS - 70);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    "<title>What the tunnel costs</title>",
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="12" y="22" font-size="15" font-weight="600">What the tunnel costs, as a ratio to what stands behind the bar (shorter is better)</text>`,
    `<text x="12" y="40" fill="#666">${inXml(machine)}; the mark is the target (green: met, red: missed), the whisker the middle half of the rounds</text>`,
    `<line x1="${x(1)}" y1="${TOP - 6}" x2="${x(1)}" y2="${height - 24}" stroke="#999" stroke-dasharray="3 3"/>`,
    `<text x="${x(1)}" y="${height - 10}" text-anchor="middle" fill="#666">1 = as much as the other</text>`,
  ];
  rows.forEach((result, i) => {
    const { name, ratio, spread, target } = result;
    const y = TOP + i * ROW;
    const end = Math.max(x(ratio), x(spread[1]));
    const isInTheWay = target !== undefined && x(target) > end - 2 && x(target) < end + NUMBER_WIDTH;
    const numberAt = (isInTheWay ? x(target) : end) + 6;
    const color = target === undefined ? OTHER : met(result) ? MET : MISSED;
    parts.push(
      `<text x="${LABELS - 8}" y="${y + 14}" text-anchor="end" font-size="10.5">${inXml(name)}</text>`,
      `<rect x="${LABELS}" y="${y + 4}" width="${(x(ratio) - LABELS).toFixed(1)}" height="14" fill="${color}"/>`,
      `<line x1="${x(spread[0]).toFixed(1)}" y1="${y + 11}" x2="${x(spread[1]).toFixed(1)}" y2="${y + 11}" stroke="#222"/>`,
      `<text x="${numberAt.toFixed(1)}" y="${y + 15}">${ratio.toFixed(2)}</text>`,
    );
    if (target !== undefined) {
      parts.push(
        `<line x1="${x(target).toFixed(1)}" y1="${y + 1}" x2="${x(target).toFixed(1)}" y2="${y + 21}" stroke="#222" stroke-width="2"/>`,
      );
    }
  });
  parts.push("</svg>");
  return `${parts.join("\n")}\n`;
}

function inXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
