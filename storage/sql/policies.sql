-- name: insert
INSERT INTO policies (
    id, version, name, min_quality_score, max_single_position, max_sector, max_tracking_error, max_turnover,
    method_version, created_at
) VALUES (
    %(id)s, %(version)s, %(name)s, %(min_quality_score)s, %(max_single_position)s, %(max_sector)s,
    %(max_tracking_error)s, %(max_turnover)s, %(method_version)s, %(created_at)s
)
ON CONFLICT (id, version) DO NOTHING;

-- name: newest_version
SELECT COALESCE(MAX(version), 0) FROM policies WHERE id = %(id)s;

-- name: find
SELECT * FROM policies WHERE id = %(id)s AND (%(version)s = 0 OR version = %(version)s)
ORDER BY version DESC LIMIT 1;

-- name: page
SELECT * FROM policies
WHERE (id, version) > (%(after_id)s, %(after_version)s)
    AND (%(older)s OR NOT EXISTS (
        SELECT FROM policies AS later WHERE later.id = policies.id AND later.version > policies.version
    ))
ORDER BY id, version LIMIT %(limit)s;
