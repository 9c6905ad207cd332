/** The guest half with everything it needs, as one script. Made by `scripts/bundle-guest.ts`. */
export const GUEST_BUNDLE: string;
