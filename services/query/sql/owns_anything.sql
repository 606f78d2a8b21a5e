-- Whether a subject that customer360 does not know yet owns something in the other models.
SELECT
    EXISTS (SELECT FROM {sales}.orders WHERE subject_id = $1)
    OR EXISTS (SELECT FROM {service}.cases WHERE subject_id = $1)
    OR EXISTS (SELECT FROM {service}.calls WHERE subject_id = $1)
