import { codecContract } from "../../../../test/contract/codec.ts";
import { protobuf } from "./index.ts";

codecContract({ name: "protobuf", codec: protobuf, nonFiniteFloats: "float" });
