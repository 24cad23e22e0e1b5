-- Jobs as clients see them; who runs which is the queue's business, in a schema of its own.
-- depends: 0001.library

CREATE TABLE gateway.jobs (
    job_id text PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    kind smallint NOT NULL,
    state smallint NOT NULL,
    display_name text NOT NULL,
    spec bytea NOT NULL,
    video_id text NOT NULL,
    needs_job_id text NOT NULL DEFAULT '',
    owner_id text NOT NULL DEFAULT '',
    -- The entry of the queue that stands for it; another one after a worker failed.
    queue_id bigint NOT NULL DEFAULT 0,
    -- The fence: what an attempt writes counts only while it is the last one.
    attempts integer NOT NULL DEFAULT 0,
    worker text NOT NULL DEFAULT '',
    phase smallint NOT NULL DEFAULT 0,
    done_frames bigint NOT NULL DEFAULT 0,
    total_frames bigint NOT NULL DEFAULT 0,
    frames_per_s real NOT NULL DEFAULT 0,
    left_s real,
    fraction real NOT NULL DEFAULT 0,
    checkpoint_frames bigint NOT NULL DEFAULT 0,
    checkpoint_key text NOT NULL DEFAULT '',
    worked_s real NOT NULL DEFAULT 0,
    error bytea,
    result bytea,
    -- Grows with every change, for whoever watches.
    revision bigint NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    start_time timestamptz,
    finish_time timestamptz
);
CREATE INDEX jobs_by_video ON gateway.jobs (video_id);
CREATE INDEX jobs_by_need ON gateway.jobs (needs_job_id);
CREATE INDEX jobs_unfinished ON gateway.jobs (state) WHERE state <= 3;

CREATE TABLE gateway.job_outputs (
    job_id text NOT NULL REFERENCES gateway.jobs ON DELETE CASCADE,
    position integer NOT NULL,
    output_id text NOT NULL,
    object_key text NOT NULL,
    file_name text NOT NULL,
    media_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    PRIMARY KEY (job_id, output_id)
);
