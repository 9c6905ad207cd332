import { workerSuite } from "../../packages/sandbox/test/worker-suite.ts";

workerSuite([{ reason: "Bun does not tell what caused a promise to fail", programs: ["rejects"] }]);
