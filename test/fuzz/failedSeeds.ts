/** Seeds that once failed, by the target; each is run for ever. */
export const failedSeeds: Readonly<Record<string, readonly number[]>> = {
};
