/** From here on up, and below `MIN_FIXED`, the crate writes an exponent. */
const MAX_FIXED = 1e16;
const MIN_FIXED = 1e-5;

/** A finite number as the crate writes it: the fewest digits that mean it, never without a fraction or an exponent. */
export function floatText(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  if (size >= MAX_FIXED || size < MIN_FIXED) return value.toExponential();
  return Number.isInteger(value) ? `${value}.0` : `${value}`;
}
