import { workerSuite } from "../../packages/sandbox/test/worker-suite.ts";

workerSuite([]);
