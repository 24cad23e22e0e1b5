-- Stored videos, uploads on their way, and the answers to requests that may be repeated.

CREATE TABLE gateway.videos (
    video_id text PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    display_name text NOT NULL,
    metadata jsonb NOT NULL,
    file_name text NOT NULL,
    media_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    facts jsonb NOT NULL,
    thumbnail_frame_index bigint NOT NULL,
    source_job_id text NOT NULL DEFAULT '',
    owner_id text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX videos_by_sha256 ON gateway.videos (sha256);

CREATE TABLE gateway.uploads (
    upload_id text PRIMARY KEY,
    file_name text NOT NULL,
    size_bytes bigint NOT NULL,
    stored_bytes bigint NOT NULL DEFAULT 0,
    sha256 text NOT NULL,
    display_name text NOT NULL,
    metadata jsonb NOT NULL,
    owner_id text NOT NULL DEFAULT '',
    expire_time timestamptz NOT NULL,
    -- Who sends at the moment, and until when that is believed without another sign of life.
    sender text NOT NULL DEFAULT '',
    sender_until timestamptz NOT NULL DEFAULT 'epoch'
);

CREATE TABLE gateway.upload_parts (
    upload_id text NOT NULL REFERENCES gateway.uploads ON DELETE CASCADE,
    first_byte bigint NOT NULL,
    object_key text NOT NULL,
    size_bytes bigint NOT NULL,
    PRIMARY KEY (upload_id, first_byte)
);

-- What is in the object store without a row that owns it: about to be owned, or about to go.
CREATE TABLE gateway.loose_objects (
    prefix text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateway.answers (
    method text NOT NULL,
    owner_id text NOT NULL,
    request_id text NOT NULL,
    content bytea NOT NULL,
    answer bytea NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (method, owner_id, request_id)
);
CREATE INDEX answers_by_age ON gateway.answers (since);
