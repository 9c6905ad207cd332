import { codecContract } from "../../../../test/contract/codec.ts";
import { msgpack } from "./index.ts";

codecContract({ name: "msgpack", codec: msgpack, nonFiniteFloats: "float" });
