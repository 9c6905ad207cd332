import { codecContract } from "../../../../test/contract/codec.ts";
import { json } from "./index.ts";

codecContract({ name: "json", codec: json, nonFiniteFloats: "object" });
