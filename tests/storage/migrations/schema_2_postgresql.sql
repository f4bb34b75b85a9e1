CREATE TYPE studydirection AS ENUM ('NOT_SET', 'MINIMIZE', 'MAXIMIZE');
CREATE TYPE trialstate AS ENUM ('RUNNING', 'COMPLETE', 'PRUNED', 'FAIL', 'WAITING');
CREATE TYPE trialvaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG');
CREATE TYPE trialintermediatevaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG', 'NAN');
CREATE TABLE studies (
    study_id SERIAL NOT NULL,
    study_name VARCHAR(512) NOT NULL,
    PRIMARY KEY (study_id)
);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE TABLE version_info (
    version_info_id INTEGER NOT NULL,
    schema_version INTEGER,
    library_version VARCHAR(256),
    PRIMARY KEY (version_info_id),
    CHECK (version_info_id=1)
);
CREATE TABLE study_directions (
    study_direction_id SERIAL NOT NULL,
    direction studydirection NOT NULL,
    study_id INTEGER NOT NULL,
    objective INTEGER NOT NULL,
    PRIMARY KEY (study_direction_id),
    UNIQUE (study_id, objective),
    FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
    study_user_attribute_id SERIAL NOT NULL,
    study_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (study_user_attribute_id),
    UNIQUE (study_id, key),
    FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_system_attributes (
    study_system_attribute_id SERIAL NOT NULL,
    study_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (study_system_attribute_id),
    UNIQUE (study_id, key),
    FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trials (
    trial_id SERIAL NOT NULL,
    number INTEGER,
    study_id INTEGER,
    state trialstate NOT NULL,
    datetime_start TIMESTAMP WITHOUT TIME ZONE,
    datetime_complete TIMESTAMP WITHOUT TIME ZONE,
    PRIMARY KEY (trial_id),
    FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE TABLE trial_user_attributes (
    trial_user_attribute_id SERIAL NOT NULL,
    trial_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (trial_user_attribute_id),
    UNIQUE (trial_id, key),
    FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_system_attributes (
    trial_system_attribute_id SERIAL NOT NULL,
    trial_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (trial_system_attribute_id),
    UNIQUE (trial_id, key),
    FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
    param_id SERIAL NOT NULL,
    trial_id INTEGER,
    param_name VARCHAR(512),
    param_value FLOAT(53),
    distribution_json TEXT,
    PRIMARY KEY (param_id),
    UNIQUE (trial_id, param_name),
    FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_values (
    trial_value_id SERIAL NOT NULL,
    trial_id INTEGER NOT NULL,
    objective INTEGER NOT NULL,
    value FLOAT(53),
    value_type trialvaluetype NOT NULL,
    PRIMARY KEY (trial_value_id),
    UNIQUE (trial_id, objective),
    FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
    trial_intermediate_value_id SERIAL NOT NULL,
    trial_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    intermediate_value FLOAT(53),
    intermediate_value_type trialintermediatevaluetype NOT NULL,
    PRIMARY KEY (trial_intermediate_value_id),
    UNIQUE (trial_id, step),
    FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_heartbeats (
    trial_heartbeat_id SERIAL NOT NULL,
    trial_id INTEGER NOT NULL,
    heartbeat TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    PRIMARY KEY (trial_heartbeat_id),
    UNIQUE (trial_id),
    FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE TABLE widthwise_schema (
    id SERIAL NOT NULL CONSTRAINT widthwise_schema_one_row CHECK (id = 1),
    version INTEGER NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE widthwise_study (
    id SERIAL NOT NULL,
    name VARCHAR(512) NOT NULL,
    spec TEXT NOT NULL,
    fingerprint VARCHAR(128) NOT NULL,
    optuna_study_id INTEGER NOT NULL,
    direction VARCHAR(8) NOT NULL,
    base TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    costs TEXT,
    PRIMARY KEY (id),
    CONSTRAINT widthwise_study_direction CHECK (direction IN ('maximize', 'minimize')),
    UNIQUE (name)
);
COMMENT ON COLUMN widthwise_study.spec IS 'JSON';
COMMENT ON COLUMN widthwise_study.base IS 'folder of the spec';
CREATE TABLE widthwise_slot (
    study_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    state VARCHAR(8) DEFAULT 'free' NOT NULL,
    outcome VARCHAR(16),
    token VARCHAR(32),
    worker TEXT,
    lease_until DOUBLE PRECISION,
    attempts INTEGER DEFAULT '0' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    widths TEXT,
    widths_key TEXT,
    origin TEXT,
    trial_id INTEGER,
    result TEXT,
    value DOUBLE PRECISION,
    score DOUBLE PRECISION,
    fidelity DOUBLE PRECISION,
    spread DOUBLE PRECISION,
    measured TEXT,
    rungs TEXT,
    projected BOOLEAN DEFAULT false NOT NULL,
    started_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    stage VARCHAR(8) GENERATED ALWAYS AS (
CASE WHEN state <> 'done' THEN CASE WHEN widths_key IS NULL THEN 'fresh' ELSE 'begun' END
     WHEN projected THEN 'told' ELSE 'late' END
) STORED NOT NULL,
    PRIMARY KEY (study_id, number),
    CONSTRAINT widthwise_slot_widths UNIQUE (study_id, widths_key),
    CONSTRAINT widthwise_slot_state CHECK (state IN ('free', 'leased', 'done')),
    CONSTRAINT widthwise_slot_outcome CHECK ((state = 'done') = (outcome IS NOT NULL)),
    FOREIGN KEY(study_id) REFERENCES widthwise_study (id) ON DELETE CASCADE
);
CREATE INDEX widthwise_slot_by_state ON widthwise_slot (study_id, state, outcome, number);
CREATE INDEX widthwise_slot_by_stage ON widthwise_slot (study_id, stage, number);
COMMENT ON COLUMN widthwise_slot.outcome IS 'of a slot that is done';
COMMENT ON COLUMN widthwise_slot.token IS 'of the present or last holder: the fence';
COMMENT ON COLUMN widthwise_slot.worker IS 'name of the present or last holder';
COMMENT ON COLUMN widthwise_slot.attempts IS 'claims, drains not counted';
COMMENT ON COLUMN widthwise_slot.failures IS 'attempts that raised';
COMMENT ON COLUMN widthwise_slot.widths IS 'JSON, in the space''s order';
COMMENT ON COLUMN widthwise_slot.widths_key IS 'canonical JSON of the widths';
COMMENT ON COLUMN widthwise_slot.origin IS 'who proposed the widths';
COMMENT ON COLUMN widthwise_slot.trial_id IS 'Optuna''s';
COMMENT ON COLUMN widthwise_slot.result IS 'JSON';
COMMENT ON COLUMN widthwise_slot.score IS 'metric so far, also of a trial that was pruned';
COMMENT ON COLUMN widthwise_slot.fidelity IS 'epochs that the score is worth';
COMMENT ON COLUMN widthwise_slot.spread IS 'standard error of the value';
COMMENT ON COLUMN widthwise_slot.measured IS 'JSON: what was measured against limits';
COMMENT ON COLUMN widthwise_slot.rungs IS 'JSON: score by epochs trained';
COMMENT ON COLUMN widthwise_slot.projected IS 'told to Optuna';
CREATE TABLE widthwise_event (
    id SERIAL NOT NULL,
    study_id INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    kind VARCHAR(16) NOT NULL,
    number INTEGER,
    token VARCHAR(32),
    worker TEXT,
    detail TEXT NOT NULL,
    once VARCHAR(64),
    PRIMARY KEY (id),
    FOREIGN KEY(study_id) REFERENCES widthwise_study (id) ON DELETE CASCADE,
    UNIQUE (once)
);
CREATE INDEX ix_widthwise_event_study_id ON widthwise_event (study_id);
COMMENT ON COLUMN widthwise_event.number IS 'of the slot, where there is one';
COMMENT ON COLUMN widthwise_event.detail IS 'JSON';
COMMENT ON COLUMN widthwise_event.once IS 'a repeated transaction meets its own event here';
INSERT INTO studies (study_id, study_name) VALUES (1, 'digits');
SELECT setval('public.studies_study_id_seq', (SELECT coalesce(max(study_id), 0) + 1 FROM studies), false);
INSERT INTO version_info (version_info_id, schema_version, library_version) VALUES (1, 12, '5.0.0');
INSERT INTO study_directions (study_direction_id, direction, study_id, objective) VALUES (1, 'MAXIMIZE', 1, 0);
SELECT setval('public.study_directions_study_direction_id_seq', (SELECT coalesce(max(study_direction_id), 0) + 1 FROM study_directions), false);
INSERT INTO study_system_attributes (study_system_attribute_id, study_id, key, value_json) VALUES (1, 1, 'study:metric_names', '["accuracy"]');
SELECT setval('public.study_system_attributes_study_system_attribute_id_seq', (SELECT coalesce(max(study_system_attribute_id), 0) + 1 FROM study_system_attributes), false);
INSERT INTO study_user_attributes (study_user_attribute_id, study_id, key, value_json) VALUES (1, 1, 'widthwise:fingerprint', '"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"');
SELECT setval('public.study_user_attributes_study_user_attribute_id_seq', (SELECT coalesce(max(study_user_attribute_id), 0) + 1 FROM study_user_attributes), false);
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (1, 0, 1, 'COMPLETE', '2026-11-22 12:02:19.986699'::timestamp, '2026-11-22 12:02:20.001836'::timestamp);
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (2, 1, 1, 'RUNNING', '2026-11-22 12:02:20.009505'::timestamp, NULL);
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (3, 2, 1, 'PRUNED', '2026-11-22 12:02:20.020439'::timestamp, '2026-11-22 12:02:20.027616'::timestamp);
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (4, 3, 1, 'RUNNING', '2026-11-22 12:02:20.042334'::timestamp, NULL);
SELECT setval('public.trials_trial_id_seq', (SELECT coalesce(max(trial_id), 0) + 1 FROM trials), false);
SELECT setval('public.trial_heartbeats_trial_heartbeat_id_seq', (SELECT coalesce(max(trial_heartbeat_id), 0) + 1 FROM trial_heartbeats), false);
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (1, 1, 0, 0.25, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (2, 1, 1, 0.5, 'FINITE');
SELECT setval('public.trial_intermediate_values_trial_intermediate_value_id_seq', (SELECT coalesce(max(trial_intermediate_value_id), 0) + 1 FROM trial_intermediate_values), false);
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (1, 1, 'hidden', 8.0, '{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (2, 2, 'hidden', 16.0, '{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (3, 3, 'hidden', 24.0, '{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (4, 4, 'hidden', 32.0, '{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
SELECT setval('public.trial_params_param_id_seq', (SELECT coalesce(max(param_id), 0) + 1 FROM trial_params), false);
INSERT INTO trial_system_attributes (trial_system_attribute_id, trial_id, key, value_json) VALUES (1, 1, 'constraints:flops', '-0.25');
INSERT INTO trial_system_attributes (trial_system_attribute_id, trial_id, key, value_json) VALUES (2, 2, 'constraints:flops', '-0.25');
INSERT INTO trial_system_attributes (trial_system_attribute_id, trial_id, key, value_json) VALUES (3, 3, 'constraints:flops', '-0.25');
INSERT INTO trial_system_attributes (trial_system_attribute_id, trial_id, key, value_json) VALUES (4, 4, 'constraints:flops', '-0.25');
SELECT setval('public.trial_system_attributes_trial_system_attribute_id_seq', (SELECT coalesce(max(trial_system_attribute_id), 0) + 1 FROM trial_system_attributes), false);
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (1, 1, 'origin', '"sampler"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (2, 1, 'slot', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (3, 1, 'epochs', '2');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (4, 2, 'origin', '"sampler"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (5, 2, 'slot', '1');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (6, 3, 'origin', '"sampler"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (7, 3, 'slot', '2');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (8, 4, 'origin', '"sampler"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (9, 4, 'slot', '4');
SELECT setval('public.trial_user_attributes_trial_user_attribute_id_seq', (SELECT coalesce(max(trial_user_attribute_id), 0) + 1 FROM trial_user_attributes), false);
INSERT INTO trial_values (trial_value_id, trial_id, objective, value, value_type) VALUES (1, 1, 0, 0.5, 'FINITE');
SELECT setval('public.trial_values_trial_value_id_seq', (SELECT coalesce(max(trial_value_id), 0) + 1 FROM trial_values), false);
INSERT INTO alembic_version (version_num) VALUES ('v3.2.0.a');
INSERT INTO widthwise_schema (id, version) VALUES (1, 2);
SELECT setval('public.widthwise_schema_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM widthwise_schema), false);
INSERT INTO widthwise_study (id, name, spec, fingerprint, optuna_study_id, direction, base, created_at, costs) VALUES (1, 'digits', '{"trials": 6}', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 1, 'maximize', '/models', 1695348939.974023, NULL);
SELECT setval('public.widthwise_study_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM widthwise_study), false);
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (1, 1, 1695348939.976524, 'created', NULL, NULL, NULL, '{"budget": 6}', 'created:96802b9d03454ac6a49b0fd7010ab0de');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (2, 1, 1695348939.983198, 'claimed', 0, '0e25969f0dfe9d296ffdc27b0', 'first', '{}', 'claimed:0e25969f0dfe9d296ffdc27b0');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (3, 1, 1695348939.986303, 'bound', 0, '0e25969f0dfe9d296ffdc27b0', 'first', '{"widths": {"hidden": 8}}', 'bound:0e25969f0dfe9d296ffdc27b0');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (4, 1, 1695348939.994831, 'done', 0, '0e25969f0dfe9d296ffdc27b0', 'first', '{"outcome": "complete"}', 'done:0e25969f0dfe9d296ffdc27b0');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (5, 1, 1695348940.003385, 'projected', 0, '0e25969f0dfe9d296ffdc27b0', NULL, '{}', NULL);
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (6, 1, 1695348940.006863, 'claimed', 1, 'f6a5c437e6fac61201606add1', 'first', '{}', 'claimed:f6a5c437e6fac61201606add1');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (7, 1, 1695348940.009205, 'bound', 1, 'f6a5c437e6fac61201606add1', 'first', '{"widths": {"hidden": 16}}', 'bound:f6a5c437e6fac61201606add1');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (8, 1, 1695348940.014469, 'done', 1, 'f6a5c437e6fac61201606add1', 'first', '{"outcome": "complete"}', 'done:f6a5c437e6fac61201606add1');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (9, 1, 1695348940.018011, 'claimed', 2, 'ab905226575e7b8533886ca82', 'first', '{}', 'claimed:ab905226575e7b8533886ca82');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (10, 1, 1695348940.020144, 'bound', 2, 'ab905226575e7b8533886ca82', 'first', '{"widths": {"hidden": 24}}', 'bound:ab905226575e7b8533886ca82');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (11, 1, 1695348940.025032, 'done', 2, 'ab905226575e7b8533886ca82', 'first', '{"outcome": "infeasible"}', 'done:ab905226575e7b8533886ca82');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (12, 1, 1695348940.028617, 'projected', 2, 'ab905226575e7b8533886ca82', NULL, '{}', NULL);
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (13, 1, 1695348940.03169, 'claimed', 3, '6fd9bb56ed599a8c4d304e7e3', 'first', '{}', 'claimed:6fd9bb56ed599a8c4d304e7e3');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (14, 1, 1695348940.03373, 'failed', 3, '6fd9bb56ed599a8c4d304e7e3', 'first', '{"error": "boom", "again": false}', 'failed:6fd9bb56ed599a8c4d304e7e3');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (15, 1, 1695348940.036946, 'projected', 3, '6fd9bb56ed599a8c4d304e7e3', NULL, '{}', NULL);
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (16, 1, 1695348940.040022, 'claimed', 4, '886684cd15c4114e724b91414', 'first', '{}', 'claimed:886684cd15c4114e724b91414');
INSERT INTO widthwise_event (id, study_id, at, kind, number, token, worker, detail, once) VALUES (17, 1, 1695348940.042046, 'bound', 4, '886684cd15c4114e724b91414', 'first', '{"widths": {"hidden": 32}}', 'bound:886684cd15c4114e724b91414');
SELECT setval('public.widthwise_event_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM widthwise_event), false);
INSERT INTO widthwise_slot (study_id, number, state, outcome, token, worker, lease_until, attempts, failures, widths, widths_key, origin, trial_id, result, value, score, fidelity, spread, measured, rungs, projected, started_at, finished_at) VALUES (1, 0, 'done', 'complete', '0e25969f0dfe9d296ffdc27b0', 'first', 1695348969.982273, 1, 0, '{"hidden": 8}', '{"hidden": 8}', 'sampler', 1, '{"curve": [0.25, 0.5], "measured": {"latency": 0.001}, "epochs": 2, "attributes": {"epochs": 2}}', 0.5, 0.5, 2.0, NULL, '{"latency": 0.001}', NULL, true, 1695348939.982277, 1695348939.994382);
INSERT INTO widthwise_slot (study_id, number, state, outcome, token, worker, lease_until, attempts, failures, widths, widths_key, origin, trial_id, result, value, score, fidelity, spread, measured, rungs, projected, started_at, finished_at) VALUES (1, 1, 'done', 'complete', 'f6a5c437e6fac61201606add1', 'first', 1695348970.006255, 1, 0, '{"hidden": 16}', '{"hidden": 16}', 'sampler', 2, '{"curve": [0.5, 0.75], "measured": {}, "attributes": {"epochs": 2}}', 0.75, 0.75, 2.0, NULL, NULL, NULL, false, 1695348940.006258, 1695348940.014095);
INSERT INTO widthwise_slot (study_id, number, state, outcome, token, worker, lease_until, attempts, failures, widths, widths_key, origin, trial_id, result, value, score, fidelity, spread, measured, rungs, projected, started_at, finished_at) VALUES (1, 2, 'done', 'infeasible', 'ab905226575e7b8533886ca82', 'first', 1695348970.017551, 1, 0, '{"hidden": 24}', '{"hidden": 24}', 'sampler', 3, '{"measured": {"latency": 0.25}}', NULL, NULL, NULL, NULL, '{"latency": 0.25}', NULL, true, 1695348940.017554, 1695348940.024682);
INSERT INTO widthwise_slot (study_id, number, state, outcome, token, worker, lease_until, attempts, failures, widths, widths_key, origin, trial_id, result, value, score, fidelity, spread, measured, rungs, projected, started_at, finished_at) VALUES (1, 3, 'done', 'error', '6fd9bb56ed599a8c4d304e7e3', 'first', 1695348970.031204, 1, 1, NULL, NULL, NULL, NULL, '{"error": "boom"}', NULL, NULL, NULL, NULL, NULL, NULL, true, 1695348940.031207, 1695348940.033387);
INSERT INTO widthwise_slot (study_id, number, state, outcome, token, worker, lease_until, attempts, failures, widths, widths_key, origin, trial_id, result, value, score, fidelity, spread, measured, rungs, projected, started_at, finished_at) VALUES (1, 4, 'leased', NULL, '886684cd15c4114e724b91414', 'first', 1695348970.039583, 1, 0, '{"hidden": 32}', '{"hidden": 32}', 'sampler', 4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, 1695348940.039586, NULL);
INSERT INTO widthwise_slot (study_id, number, state, outcome, token, worker, lease_until, attempts, failures, widths, widths_key, origin, trial_id, result, value, score, fidelity, spread, measured, rungs, projected, started_at, finished_at) VALUES (1, 5, 'free', NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL);
