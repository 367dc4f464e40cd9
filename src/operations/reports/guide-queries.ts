/** The three queries that the deployment guide's monitor_performance.py times, word for word. */

export interface GuideQuery {
  readonly name: string;
  readonly sql: string;
  /** What its one parameter is. */
  readonly asks: 'user' | 'organization';
}

export const GUIDE_QUERIES: readonly GuideQuery[] = [
  {
    name: 'user_orgs',
    sql: `
            SELECT DISTINCT organization_id 
            FROM organization_members 
            WHERE user_id = ? AND is_active = 1
        `,
    asks: 'user',
  },
  {
    name: 'org_models',
    sql: `
            SELECT DISTINCT model_id 
            FROM organization_models 
            WHERE organization_id = ? AND is_active = 1
        `,
    asks: 'organization',
  },
  {
    name: 'user_models_view',
    sql: `
            SELECT DISTINCT model_id 
            FROM user_available_models 
            WHERE user_id = ?
        `,
    asks: 'user',
  },
];
