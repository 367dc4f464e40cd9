/** Random inputs are the same in every run, so that what is red once is red again. `GATE_TEST_SEED` draws others. */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env['GATE_TEST_SEED'] ?? 20_260_101) });
