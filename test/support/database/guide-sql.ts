/** Statements of the deployment guide, word for word. What is written here is what operators have pasted for years. */

export const GUIDE_REPORT_VIEW = `
CREATE VIEW IF NOT EXISTS user_model_access_report AS
SELECT 
    u.email as user_email,
    u.name as user_name,
    om.organization_id,
    COUNT(DISTINCT orgmod.model_id) as accessible_models,
    GROUP_CONCAT(DISTINCT m.name) as model_names
FROM user u
JOIN organization_members om ON u.id = om.user_id
JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
JOIN model m ON orgmod.model_id = m.id
WHERE om.is_active = 1 AND orgmod.is_active = 1
GROUP BY u.id, om.organization_id;`;

export const GUIDE_AUDIT_ORGANIZATIONS = `
SELECT 
    om.organization_id,
    COUNT(DISTINCT om.user_id) as user_count,
    COUNT(DISTINCT orgmod.model_id) as model_count
FROM organization_members om
LEFT JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
WHERE om.is_active = 1
GROUP BY om.organization_id;`;

export const GUIDE_AUDIT_ADMINS = `
SELECT 
    u.email,
    u.name,
    om.organization_id,
    u.last_active_at
FROM user u
JOIN organization_members om ON u.id = om.user_id
WHERE u.role = 'admin'
ORDER BY u.last_active_at DESC;`;

/** Of its migration: organization twice, then the seconds twice. */
export const GUIDE_LINK_MODELS = `
            INSERT OR IGNORE INTO organization_models (id, organization_id, model_id, is_active, created_at, updated_at)
            SELECT 
                'orgmod_' || ? || '_' || model.id,
                ?,
                model.id,
                model.is_active,
                ?,
                ?
            FROM model
            WHERE model.base_model_id IS NULL
        `;
