/**
 * Image and speech models have a name space of their own. `any` means any: the answer never tells which ids other
 * organizations were granted. What routes beside the one model is judged as everywhere.
 */
import { type Attack, type Use, at, describeAttacks } from '../support/gate/attacks.ts';
import type { TestGate } from '../support/gate/gate.ts';

const DOORS = [
  ['/api/v1/images/generations', 'open-webui'],
  ['/api/v1/images/edit', 'open-webui'],
  ['/api/v1/audio/speech', 'open-webui'],
  ['/openai/audio/speech', 'openai'],
] as const;

const BOTH = { prompt: 'x', input: 'x' };
const refused = (model: unknown, status = 403): readonly Attack[] =>
  DOORS.flatMap(([target, dialect]) =>
    at(target, { [`${JSON.stringify(model)} at ${target}`]: { model, ...BOTH } }, { dialect, status }),
  );
const used = (model: string): readonly Use[] =>
  DOORS.flatMap(([target]) => at(target, { [`${model} at ${target}`]: { model, ...BOTH } }, { runs: [model] }));

function prepare({ database }: TestGate): void {
  database.addModel({ id: 'only-a-row', base: 'F' });
  database.grant('globex', 'globex/*');
}

describeAttacks('media models, any', {
  prepare,
  attacks: [
    ...refused('imagen:predict?key=x'),
    ...refused('../../models/F'),
    ...refused('x%2f..%2fF'),
    ...refused(['F'], 400),
    ...refused(5, 400),
    ...DOORS.flatMap(([target, dialect]): Attack[] => [
      ...at(
        target,
        { [`a fallback beside a media model at ${target}`]: { model: 'dall-e-3', models: ['F'] } },
        { dialect },
      ),
      ...at(target, { [`a pending user at ${target}`]: { model: 'dall-e-3' } }, { dialect, user: 'pen' }),
    ]),
  ],
  uses: [
    ...used('F'),
    ...used('only-a-row'),
    ...used('globex/anything'),

    ...used('dall-e-3'),
    ...used('A'),
    ...DOORS.flatMap(([target]) => at(target, { [`no model at ${target}`]: BOTH }, { runs: [] })),
  ],
});

describeAttacks('media models, a list', {
  settings: { MODELGATE_MEDIA_MODELS: 'gpt-image-1,tts-1' },
  prepare,
  attacks: [...refused('dall-e-3'), ...refused('F')],
  uses: [...used('gpt-image-1'), ...used('tts-1'), ...used('A')],
});
