import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Compilers, browsers and databases take their time on machines that are busy. What is slow of itself says so with a timeout.
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
