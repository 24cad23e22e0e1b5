-- Annotation sessions: what was said, and which objects hold the masks that came of it.
-- depends: 0003.tracks

CREATE TABLE gateway.sessions (
    session_id text PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    video_id text NOT NULL REFERENCES gateway.videos,
    display_name text NOT NULL,
    options bytea NOT NULL,
    height integer NOT NULL,
    width integer NOT NULL,
    frame_count bigint NOT NULL,
    owner_id text NOT NULL DEFAULT '',
    -- Grows with every change of prompts or masks: who has read an older one must read again.
    revision bigint NOT NULL DEFAULT 0,
    next_object_id integer NOT NULL DEFAULT 1,
    next_prompt_id bigint NOT NULL DEFAULT 1,
    -- The last propagation, and who runs it, believed until then without another sign of life.
    propagation_id bigint NOT NULL DEFAULT 0,
    propagation_by text NOT NULL DEFAULT '',
    propagation_until timestamptz NOT NULL DEFAULT 'epoch',
    propagation_cancelled boolean NOT NULL DEFAULT false,
    propagation_done bigint NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    use_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_by_video ON gateway.sessions (video_id);

CREATE TABLE gateway.session_objects (
    session_id text NOT NULL REFERENCES gateway.sessions ON DELETE CASCADE,
    object_id integer NOT NULL,
    label text NOT NULL,
    -- The words it answered in the track job it came from.
    words text NOT NULL DEFAULT '',
    color_rgb integer NOT NULL,
    imported boolean NOT NULL DEFAULT false,
    -- Frames whose masks are older than the prompts that bear on them: [[first, last], ...].
    stale jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (session_id, object_id)
);

CREATE TABLE gateway.session_prompts (
    session_id text NOT NULL,
    prompt_id bigint NOT NULL,
    object_id integer NOT NULL,
    frame_index bigint NOT NULL,
    prompt bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, prompt_id),
    FOREIGN KEY (session_id, object_id) REFERENCES gateway.session_objects ON DELETE CASCADE
);
CREATE INDEX session_prompts_by_frame ON gateway.session_prompts (session_id, frame_index);

-- The mask that stood on a frame before the first prompt there: what corrections begin with.
CREATE TABLE gateway.session_bases (
    session_id text NOT NULL,
    object_id integer NOT NULL,
    frame_index bigint NOT NULL,
    rle bytea NOT NULL,
    score real NOT NULL,
    PRIMARY KEY (session_id, object_id, frame_index),
    FOREIGN KEY (session_id, object_id) REFERENCES gateway.session_objects ON DELETE CASCADE
);

CREATE TABLE gateway.session_chunks (
    session_id text NOT NULL REFERENCES gateway.sessions ON DELETE CASCADE,
    first_frame bigint NOT NULL,
    object_key text NOT NULL,
    sha256 text NOT NULL,
    -- Frames on which each object has a mask that is not empty: {"object id": frames}.
    counts jsonb NOT NULL,
    PRIMARY KEY (session_id, first_frame)
);
