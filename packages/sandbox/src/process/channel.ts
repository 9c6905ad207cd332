/**
 * Environment variable that tells a guest where the tunnel is: the file descriptor that it reads and the one that it writes, such as
 * `3,4`, or `0,1` for standard input and output. They may be the same.
 */
export const CHANNEL = "SPANDUCT_CHANNEL";
