BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'digits');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["accuracy"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'widthwise:fingerprint','"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,0,0.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,1,0.5,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'hidden',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
INSERT INTO "trial_params" VALUES(2,2,'hidden',16.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
INSERT INTO "trial_params" VALUES(3,3,'hidden',24.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
INSERT INTO "trial_params" VALUES(4,4,'hidden',32.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 8, "low": 8, "high": 64}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'constraints:flops','-0.25');
INSERT INTO "trial_system_attributes" VALUES(2,2,'constraints:flops','-0.25');
INSERT INTO "trial_system_attributes" VALUES(3,3,'constraints:flops','-0.25');
INSERT INTO "trial_system_attributes" VALUES(4,4,'constraints:flops','-0.25');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'origin','"sampler"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'slot','0');
INSERT INTO "trial_user_attributes" VALUES(3,1,'epochs','2');
INSERT INTO "trial_user_attributes" VALUES(4,2,'origin','"sampler"');
INSERT INTO "trial_user_attributes" VALUES(5,2,'slot','1');
INSERT INTO "trial_user_attributes" VALUES(6,3,'origin','"sampler"');
INSERT INTO "trial_user_attributes" VALUES(7,3,'slot','2');
INSERT INTO "trial_user_attributes" VALUES(8,4,'origin','"sampler"');
INSERT INTO "trial_user_attributes" VALUES(9,4,'slot','4');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.5,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 09:29:50.257114','2026-11-22 09:29:50.437987');
INSERT INTO "trials" VALUES(2,1,1,'RUNNING','2026-11-22 09:29:50.482995',NULL);
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-22 09:29:50.510894','2026-11-22 09:29:50.558909');
INSERT INTO "trials" VALUES(4,3,1,'RUNNING','2026-11-22 09:29:50.578829',NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE TABLE widthwise_event (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
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
INSERT INTO "widthwise_event" VALUES(1,1,1.69533979020199775701e+09,'created',NULL,NULL,NULL,'{"budget": 6}','created:a996c3421bb6474196ef2e3dc838d5dd');
INSERT INTO "widthwise_event" VALUES(2,1,1.69533979024701857568e+09,'claimed',0,'ff8258c1863847bdae9e0455824adae0','first','{}','claimed:ff8258c1863847bdae9e0455824adae0');
INSERT INTO "widthwise_event" VALUES(3,1,1.69533979025100183489e+09,'bound',0,'ff8258c1863847bdae9e0455824adae0','first','{"widths": {"hidden": 8}}','bound:ff8258c1863847bdae9e0455824adae0');
INSERT INTO "widthwise_event" VALUES(4,1,1.69533979042400407789e+09,'done',0,'ff8258c1863847bdae9e0455824adae0','first','{"outcome": "complete"}','done:ff8258c1863847bdae9e0455824adae0');
INSERT INTO "widthwise_event" VALUES(5,1,1.69533979044798326489e+09,'projected',0,'ff8258c1863847bdae9e0455824adae0',NULL,'{}',NULL);
INSERT INTO "widthwise_event" VALUES(6,1,1.69533979047099637987e+09,'claimed',1,'35bab9171b9c4b78bcbb901aaf409d2b','first','{}','claimed:35bab9171b9c4b78bcbb901aaf409d2b');
INSERT INTO "widthwise_event" VALUES(7,1,1795339790.47502,'bound',1,'35bab9171b9c4b78bcbb901aaf409d2b','first','{"widths": {"hidden": 16}}','bound:35bab9171b9c4b78bcbb901aaf409d2b');
INSERT INTO "widthwise_event" VALUES(8,1,1.69533979049899864192e+09,'done',1,'35bab9171b9c4b78bcbb901aaf409d2b','first','{"outcome": "complete"}','done:35bab9171b9c4b78bcbb901aaf409d2b');
INSERT INTO "widthwise_event" VALUES(9,1,1.69533979050398778912e+09,'claimed',2,'2c53f63ea1064cfba84f4641ea1dc9c3','first','{}','claimed:2c53f63ea1064cfba84f4641ea1dc9c3');
INSERT INTO "widthwise_event" VALUES(10,1,1.69533979050700521467e+09,'bound',2,'2c53f63ea1064cfba84f4641ea1dc9c3','first','{"widths": {"hidden": 24}}','bound:2c53f63ea1064cfba84f4641ea1dc9c3');
INSERT INTO "widthwise_event" VALUES(11,1,1.69533979052700090411e+09,'done',2,'2c53f63ea1064cfba84f4641ea1dc9c3','first','{"outcome": "infeasible"}','done:2c53f63ea1064cfba84f4641ea1dc9c3');
INSERT INTO "widthwise_event" VALUES(12,1,1.69533979055898642541e+09,'projected',2,'2c53f63ea1064cfba84f4641ea1dc9c3',NULL,'{}',NULL);
INSERT INTO "widthwise_event" VALUES(13,1,1.69533979056401538846e+09,'claimed',3,'d91ffe6a63d345389682ad5e04fc9ab4','first','{}','claimed:d91ffe6a63d345389682ad5e04fc9ab4');
INSERT INTO "widthwise_event" VALUES(14,1,1.69533979056799864772e+09,'failed',3,'d91ffe6a63d345389682ad5e04fc9ab4','first','{"error": "boom", "again": false}','failed:d91ffe6a63d345389682ad5e04fc9ab4');
INSERT INTO "widthwise_event" VALUES(15,1,1.69533979057101607322e+09,'projected',3,'d91ffe6a63d345389682ad5e04fc9ab4',NULL,'{}',NULL);
INSERT INTO "widthwise_event" VALUES(16,1,1.69533979057600498203e+09,'claimed',4,'e733111ff4b445bf9c8f9f14d32dbd08','first','{}','claimed:e733111ff4b445bf9c8f9f14d32dbd08');
INSERT INTO "widthwise_event" VALUES(17,1,1.69533979057701087002e+09,'bound',4,'e733111ff4b445bf9c8f9f14d32dbd08','first','{"widths": {"hidden": 32}}','bound:e733111ff4b445bf9c8f9f14d32dbd08');
CREATE TABLE widthwise_schema (
	id INTEGER NOT NULL CONSTRAINT widthwise_schema_one_row CHECK (id = 1), 
	version INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "widthwise_schema" VALUES(1,1);
CREATE TABLE widthwise_slot (
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(8) DEFAULT 'free' NOT NULL, 
	outcome VARCHAR(16), 
	token VARCHAR(32), 
	worker TEXT, 
	lease_until DOUBLE, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	widths TEXT, 
	widths_key TEXT, 
	origin TEXT, 
	trial_id INTEGER, 
	result TEXT, 
	value DOUBLE, 
	projected BOOLEAN DEFAULT 0 NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	PRIMARY KEY (study_id, number), 
	CONSTRAINT widthwise_slot_widths UNIQUE (study_id, widths_key), 
	CONSTRAINT widthwise_slot_state CHECK (state IN ('free', 'leased', 'done')), 
	CONSTRAINT widthwise_slot_outcome CHECK ((state = 'done') = (outcome IS NOT NULL)), 
	FOREIGN KEY(study_id) REFERENCES widthwise_study (id) ON DELETE CASCADE
);
INSERT INTO "widthwise_slot" VALUES(1,0,'done','complete','ff8258c1863847bdae9e0455824adae0','first',1.69533982023800635341e+09,1,0,'{"hidden": 8}','{"hidden": 8}','sampler',1,'{"curve": [0.25, 0.5], "measured": {"latency": 0.001}, "epochs": 2, "attributes": {"epochs": 2}}',0.5,1,1.69533979023800635338e+09,1.69533979042400407789e+09);
INSERT INTO "widthwise_slot" VALUES(1,1,'done','complete','35bab9171b9c4b78bcbb901aaf409d2b','first',1.69533982047099637986e+09,1,0,'{"hidden": 16}','{"hidden": 16}','sampler',2,'{"curve": [0.5, 0.75], "measured": {}, "attributes": {"epochs": 2}}',0.75,0,1.69533979047099637987e+09,1.69533979049899864192e+09);
INSERT INTO "widthwise_slot" VALUES(1,2,'done','infeasible','2c53f63ea1064cfba84f4641ea1dc9c3','first',1.69533982050398778921e+09,1,0,'{"hidden": 24}','{"hidden": 24}','sampler',3,'{"measured": {"latency": 0.25}}',NULL,1,1.69533979050398778912e+09,1.69533979052700090411e+09);
INSERT INTO "widthwise_slot" VALUES(1,3,'done','error','d91ffe6a63d345389682ad5e04fc9ab4','first',1.6953398205640153885e+09,1,1,NULL,NULL,NULL,NULL,'{"error": "boom"}',NULL,1,1.69533979056401538846e+09,1.69533979056799864772e+09);
INSERT INTO "widthwise_slot" VALUES(1,4,'leased',NULL,'e733111ff4b445bf9c8f9f14d32dbd08','first',1.69533982057499909399e+09,1,0,'{"hidden": 32}','{"hidden": 32}','sampler',4,NULL,NULL,0,1.69533979057499909403e+09,NULL);
INSERT INTO "widthwise_slot" VALUES(1,5,'free',NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL);
CREATE TABLE widthwise_study (
	id INTEGER NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	spec TEXT NOT NULL, 
	fingerprint VARCHAR(128) NOT NULL, 
	optuna_study_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	base TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	costs TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT widthwise_study_direction CHECK (direction IN ('maximize', 'minimize')), 
	UNIQUE (name)
);
INSERT INTO "widthwise_study" VALUES(1,'digits','{"trials": 6}','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',1,'maximize','/models',1.69533979020099186902e+09,NULL);
CREATE INDEX widthwise_slot_by_state ON widthwise_slot (study_id, state);
CREATE INDEX ix_widthwise_event_study_id ON widthwise_event (study_id);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
