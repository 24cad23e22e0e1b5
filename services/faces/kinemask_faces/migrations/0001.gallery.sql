-- Galleries, people, their samples, and the answers to requests that may be repeated.
-- The vectors are elsewhere: one table a gallery and model (see gallery/spaces.py).

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

CREATE TABLE faces.galleries (
    gallery_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gallery_id text COLLATE "C" NOT NULL UNIQUE,
    display_name text NOT NULL,
    -- Text, not jsonb: it comes back as it was given, \u0000 included.
    metadata text NOT NULL,
    default_model text NOT NULL,
    owner_id text NOT NULL,
    -- Strangers made so far: names the next one.
    stranger_count bigint NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    -- Of the gallery itself, and of what was removed from it; people carry their own.
    update_time timestamptz NOT NULL DEFAULT now()
);

-- The vectors of one gallery by one model lie in table faces.vectors_SPACE_KEY.
CREATE TABLE faces.spaces (
    space_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gallery_key bigint NOT NULL REFERENCES faces.galleries ON DELETE CASCADE,
    model text COLLATE "C" NOT NULL,
    revision text NOT NULL,
    dimensions integer NOT NULL,
    -- False until every sample had its turn: not searched before.
    complete boolean NOT NULL,
    -- True while it has an index to be searched by.
    indexed boolean NOT NULL DEFAULT false,
    UNIQUE (gallery_key, model)
);

CREATE TABLE faces.people (
    person_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gallery_key bigint NOT NULL REFERENCES faces.galleries ON DELETE CASCADE,
    person_id text COLLATE "C" NOT NULL,
    display_name text COLLATE "C" NOT NULL,
    -- The name without case, to be searched in.
    folded_name text COLLATE "C" NOT NULL,
    metadata text NOT NULL,
    action_kind text NOT NULL DEFAULT '',
    action_target text NOT NULL DEFAULT '',
    action_label text NOT NULL DEFAULT '',
    stranger boolean NOT NULL DEFAULT false,
    -- Who they are now: themselves, or who stayed of the merges they went through.
    root_key bigint NOT NULL REFERENCES faces.people,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (gallery_key, person_id)
);
CREATE INDEX people_by_name ON faces.people (gallery_key, display_name, person_id);
CREATE INDEX people_by_root ON faces.people (root_key);

-- Ids that were somebody's who was deleted: only what tells that they were.
CREATE TABLE faces.retired_people (
    gallery_key bigint NOT NULL REFERENCES faces.galleries ON DELETE CASCADE,
    person_id_sha256 bytea NOT NULL,
    PRIMARY KEY (gallery_key, person_id_sha256)
);

CREATE TABLE faces.samples (
    sample_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sample_id text COLLATE "C" NOT NULL UNIQUE,
    gallery_key bigint NOT NULL REFERENCES faces.galleries ON DELETE CASCADE,
    person_key bigint NOT NULL REFERENCES faces.people ON DELETE CASCADE,
    source text NOT NULL,
    -- Box, score, landmarks and quality, of the face in its own picture.
    face text NOT NULL,
    quality real NOT NULL,
    fingerprint bigint NOT NULL,
    crop bytea NOT NULL,
    crop_landmarks real[] NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
-- A JPEG is no smaller for being compressed again.
ALTER TABLE faces.samples ALTER COLUMN crop SET STORAGE EXTERNAL;
CREATE INDEX samples_by_person ON faces.samples (person_key, sample_key);
CREATE INDEX samples_by_gallery ON faces.samples (gallery_key, sample_key);

CREATE TABLE faces.rejections (
    rejection_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rejection_id text COLLATE "C" NOT NULL UNIQUE,
    gallery_key bigint NOT NULL REFERENCES faces.galleries ON DELETE CASCADE,
    person_key bigint NOT NULL REFERENCES faces.people ON DELETE CASCADE,
    crop bytea NOT NULL,
    crop_landmarks real[] NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE faces.rejections ALTER COLUMN crop SET STORAGE EXTERNAL;
CREATE INDEX rejections_by_person ON faces.rejections (person_key, rejection_key);
CREATE INDEX rejections_by_gallery ON faces.rejections (gallery_key, rejection_key);

CREATE TABLE faces.rejection_vectors (
    rejection_key bigint NOT NULL REFERENCES faces.rejections ON DELETE CASCADE,
    space_key bigint NOT NULL REFERENCES faces.spaces ON DELETE CASCADE,
    embedding public.halfvec NOT NULL,
    PRIMARY KEY (rejection_key, space_key)
);
CREATE INDEX rejection_vectors_by_space ON faces.rejection_vectors (space_key);

CREATE TABLE faces.merges (
    merge_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merge_id text COLLATE "C" NOT NULL UNIQUE,
    gallery_key bigint NOT NULL REFERENCES faces.galleries ON DELETE CASCADE,
    -- Who stayed; NULL once they were deleted, and then nothing of the merge is kept but its id.
    person_key bigint REFERENCES faces.people ON DELETE SET NULL,
    merged_keys bigint[] NOT NULL,
    -- Everybody whose root changed, and what it was before.
    moved_keys bigint[] NOT NULL,
    moved_roots bigint[] NOT NULL,
    -- Who stayed, as they were.
    display_name text NOT NULL,
    metadata text NOT NULL,
    action_kind text NOT NULL,
    action_target text NOT NULL,
    action_label text NOT NULL,
    stranger boolean NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    undo_time timestamptz
);
CREATE INDEX merges_by_gallery ON faces.merges (gallery_key, merge_key);
CREATE INDEX merges_by_person ON faces.merges (person_key);

CREATE TABLE faces.answers (
    answer_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    method text NOT NULL,
    owner_id text NOT NULL,
    request_id text NOT NULL,
    content_sha256 bytea NOT NULL,
    -- NULL once something it tells of was deleted.
    answer bytea,
    since timestamptz NOT NULL DEFAULT now(),
    UNIQUE (method, owner_id, request_id)
);
CREATE INDEX answers_by_age ON faces.answers (since);

-- Whom an answer tells of: an id behind a letter for its kind.
CREATE TABLE faces.answer_subjects (
    answer_key bigint NOT NULL REFERENCES faces.answers ON DELETE CASCADE,
    gallery_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL
);
CREATE INDEX answer_subjects_by_answer ON faces.answer_subjects (answer_key);
CREATE INDEX answer_subjects_by_subject ON faces.answer_subjects (gallery_id, subject);

-- What all replicas share and nobody else may know.
CREATE TABLE faces.secrets (
    name text PRIMARY KEY,
    value bytea NOT NULL
);
