import { connect } from "@spanduct/sandbox/web-worker";

const tracing = connect({ captureConsole: true });
const factorize = tracing.span({ name: "factorize", fields: ["number", "factors"] });

function factors(number: number): number[] {
  for (let p = 2; p * p <= number; p++) if (number % p === 0) return [p, ...factors(number / p)];
  return [number];
}

addEventListener("message", ({ data: job }) => {
  // The end of the guest: what it has traced is delivered, and the host commits.
  if (job === "end") return self.close();
  const span = factorize.enter({ number: job });
  const found = factors(job);
  if (found.length === 1) console.warn("a prime number");
  span.record({ factors: found.join(" ") });
  span.close();
  self.postMessage(`${job} = ${found.join(" · ")}`);
});
