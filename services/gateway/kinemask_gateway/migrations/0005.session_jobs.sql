-- Renders and exports of annotation sessions.
-- depends: 0004.sessions

-- The session that it draws or writes; empty for all others.
ALTER TABLE gateway.jobs ADD COLUMN session_id text NOT NULL DEFAULT '';
CREATE INDEX jobs_by_session ON gateway.jobs (session_id) WHERE session_id <> '';

-- A job of a session keeps the tracks that the session had when it began, of that revision, and what
-- is to be said of them: a TrackJobResult.
ALTER TABLE gateway.job_tracks ADD COLUMN session_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE gateway.job_tracks ADD COLUMN found bytea NOT NULL DEFAULT '';
