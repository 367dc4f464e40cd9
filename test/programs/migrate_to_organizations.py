#!/usr/bin/env python3
"""
Migration script for existing deployments to organization model access.
"""

import sqlite3
import os
import time
from datetime import datetime

def migrate_database(db_path, org_id, org_name):
    """Migrate existing database to organization structure"""
    
    conn = sqlite3.connect(db_path)
    cursor = conn.cursor()
    
    print(f"Starting migration for organization: {org_name} ({org_id})")
    
    try:
        # Start transaction
        cursor.execute("BEGIN TRANSACTION")
        
        # Create organization tables if not exist
        cursor.execute("""
            CREATE TABLE IF NOT EXISTS organization_models (
                id TEXT PRIMARY KEY,
                organization_id TEXT NOT NULL,
                model_id TEXT NOT NULL,
                is_active INTEGER DEFAULT 1,
                created_at INTEGER,
                updated_at INTEGER,
                UNIQUE(organization_id, model_id)
            )
        """)
        
        cursor.execute("""
            CREATE TABLE IF NOT EXISTS organization_members (
                id TEXT PRIMARY KEY,
                organization_id TEXT NOT NULL,
                user_id TEXT NOT NULL,
                role TEXT DEFAULT 'member',
                is_active INTEGER DEFAULT 1,
                joined_at INTEGER,
                UNIQUE(organization_id, user_id)
            )
        """)
        
        # Link all existing users to organization
        cursor.execute("""
            INSERT OR IGNORE INTO organization_members (id, organization_id, user_id, role, is_active, joined_at)
            SELECT 
                'om_' || user.id || '_' || ?,
                ?,
                user.id,
                CASE WHEN user.role = 'admin' THEN 'admin' ELSE 'member' END,
                1,
                ?
            FROM user
            WHERE user.role != 'pending'
        """, (org_id, org_id, int(time.time())))
        
        users_migrated = cursor.rowcount
        print(f"✅ Migrated {users_migrated} users to organization")
        
        # Link all active models to organization
        cursor.execute("""
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
        """, (org_id, org_id, int(time.time()), int(time.time())))
        
        models_migrated = cursor.rowcount
        print(f"✅ Linked {models_migrated} models to organization")
        
        # Create indexes
        indexes = [
            "CREATE INDEX IF NOT EXISTS idx_org_members_user_active ON organization_members(user_id, is_active)",
            "CREATE INDEX IF NOT EXISTS idx_org_members_org_active ON organization_members(organization_id, is_active)",
            "CREATE INDEX IF NOT EXISTS idx_org_models_org_active ON organization_models(organization_id, is_active)",
            "CREATE UNIQUE INDEX IF NOT EXISTS idx_org_models_org_model ON organization_models(organization_id, model_id)"
        ]
        
        for idx in indexes:
            cursor.execute(idx)
        
        print("✅ Created performance indexes")
        
        # Commit transaction
        cursor.execute("COMMIT")
        print("✅ Migration completed successfully!")
        
        # Verify migration
        cursor.execute("SELECT COUNT(*) FROM organization_members WHERE organization_id = ?", (org_id,))
        member_count = cursor.fetchone()[0]
        
        cursor.execute("SELECT COUNT(*) FROM organization_models WHERE organization_id = ?", (org_id,))
        model_count = cursor.fetchone()[0]
        
        print(f"\n📊 Migration Summary:")
        print(f"   Organization: {org_name}")
        print(f"   Members: {member_count}")
        print(f"   Models: {model_count}")
        
    except Exception as e:
        cursor.execute("ROLLBACK")
        print(f"❌ Migration failed: {e}")
        raise
    finally:
        conn.close()

if __name__ == "__main__":
    import sys
    
    if len(sys.argv) != 4:
        print("Usage: python migrate_to_organizations.py <db_path> <org_id> <org_name>")
        sys.exit(1)
    
    db_path = sys.argv[1]
    org_id = sys.argv[2]
    org_name = sys.argv[3]
    
    if not os.path.exists(db_path):
        print(f"❌ Database not found: {db_path}")
        sys.exit(1)
    
    migrate_database(db_path, org_id, org_name)
